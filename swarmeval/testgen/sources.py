"""Modules of packages as what tests are written from: one context per function or method. Parsed, never imported.

One module is held at a time: what it takes does not grow with the number of functions.
"""

import ast
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from swarmeval.extraction.syntax import parse
from swarmeval.testgen.packages import Skips, SourceFile, find_roots, read_source, shuffled, source_files
from swarmeval.testgen.scopes import Definition, Function, uses

CLASS_LINES = 12  # of a class's docstring, at most
CONSTANT_CHARS = 400  # of one constant that a function names


@dataclass(frozen=True, slots=True)
class Context:
    """One function or method, and what its tests need to know of its module."""

    package: str
    module: str
    qualname: str  # "Class.method"; a property's setter is "Class.name.setter"
    line: int  # its first, decorators included; all lines count from 1
    body_line: int  # the first of its body behind the docstring
    end_line: int
    source: str  # at the left margin, with its decorators
    class_signature: str = ""  # its class's head, docstring, fields and constructor
    imports: tuple[str, ...] = ()  # those of the module whose names it uses
    constants: tuple[str, ...] = ()  # of the module, that it names

    @property
    def function_id(self) -> str:
        """ "numpy.linalg:norm": the key that joins all that is made from it."""
        return f"{self.module}:{self.qualname}"

    @property
    def subject(self) -> str:
        """The name that its tests import: of the function or of the outermost class."""
        return self.qualname.partition(".")[0]

    @property
    def text(self) -> str:
        """All of it, as a file that is cut short."""
        source = textwrap.indent(self.source, "    ") if self.class_signature else self.source
        parts = ["\n".join(self.imports), "\n".join(self.constants), self.class_signature, source]
        return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file."""

    file: SourceFile
    functions: tuple[Context, ...]  # in the order of their lines
    classes: tuple[str, ...]
    imports: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.file.module


Fits = Callable[[Context], bool]


def modules(
    packages: Sequence[str],
    skips: Skips,
    fits: Fits = lambda context: True,
    files_per_package: int | None = None,
    seed: int = 0,
) -> Iterator[Module]:
    """The modules of these packages, names or paths, that have a function to test.

    `files_per_package` of each, drawn by the seed; without it all, in the order of their names. Where a context does
    not fit, its constants, its imports and its class are left out in turn. Raises DataError where a package is missing,
    before anything is read.
    """
    package_roots = find_roots(packages)
    return _modules([source_files(root, skips) for root in package_roots], skips, fits, files_per_package, seed)


def _modules(
    listed: Sequence[Sequence[SourceFile]], skips: Skips, fits: Fits, most: int | None, seed: int
) -> Iterator[Module]:
    counts: dict[str, int] = {}  # of each package
    seen: set[str] = set()
    for group in listed:
        for file in group if most is None else shuffled(group, seed):
            if file.module in seen or (most is not None and counts.get(file.package, 0) >= most):
                continue
            seen.add(file.module)
            module = read(file, skips, fits)
            if module is not None:
                counts[file.package] = counts.get(file.package, 0) + 1
                yield module


def read(file: SourceFile, skips: Skips, fits: Fits = lambda context: True) -> Module | None:
    """A file's functions; None where it has none or cannot be parsed; the reason goes to `skips`."""
    source = read_source(file, skips)
    if source is None:
        return None
    try:
        reader = ModuleReader(file, source, parse(source))
        contexts = [context for whole in reader.contexts(skips) if (context := fit(whole, fits, skips))]
    except SyntaxError:
        skips.add("a syntax error", file.module)
        return None
    except RecursionError:
        skips.add("nested too deeply", file.module)
        return None
    if not contexts:
        skips.add("no function to test", file.module)
        return None
    return Module(file, tuple(contexts), tuple(reader.classes), tuple(reader.imports))


def fit(context: Context, fits: Fits, skips: Skips) -> Context | None:
    """As much of a context as fits, its source at least; else None, and the reason goes to `skips`."""
    shorter = replace(context, constants=())
    for one in (context, shorter, replace(shorter, imports=()), replace(shorter, imports=(), class_signature="")):
        if fits(one):
            return one
    skips.add("too long for the model", context.function_id)
    return None


class ModuleReader:
    """What a parsed file holds."""

    def __init__(self, file: SourceFile, source: str, tree: ast.Module) -> None:
        self.classes: list[str] = []
        self.imports: list[str] = []
        self._file = file
        self._lines = source.split("\n")
        self._tree = tree
        self._imported: dict[str, str] = {}  # name -> the import that binds it
        self._constants: dict[str, str] = {}  # name -> its statement
        self._ids: set[str] = set()
        for statement in flat(tree.body):
            self._take(statement)

    def contexts(self, skips: Skips) -> Iterator[Context]:
        """Functions and methods that can be called from outside, and do something."""
        for statement in flat(self._tree.body):
            yield from self._contexts_in(statement, "", None, skips)

    def _contexts_in(self, node: ast.stmt, prefix: str, owner: ast.ClassDef | None, skips: Skips) -> Iterator[Context]:
        if isinstance(node, ast.ClassDef):
            self.classes.append(prefix + node.name)
            for statement in flat(node.body):
                yield from self._contexts_in(statement, f"{prefix}{node.name}.", node, skips)
        elif isinstance(node, Function):
            name = f"{self._file.module}:{prefix}{node.name}"
            if reason := self._skip_reason(node):
                skips.add(reason, name)
                return
            for inner in ast.walk(node):
                if inner is not node and isinstance(inner, Function):
                    skips.add("inside another function, whose context holds it", f"{name}.{inner.name}")
            context = self._context(node, prefix, owner)
            if context.function_id in self._ids:
                skips.add("defined a second time", context.function_id)
                return
            self._ids.add(context.function_id)
            yield context

    def _context(self, node: Function, prefix: str, owner: ast.ClassDef | None) -> Context:
        needed = uses(node) | (uses(head(owner)) if owner is not None else set())
        imports = dict.fromkeys(self._imported[name] for name in sorted(needed & set(self._imported)))
        constants = dict.fromkeys(self._constants[name] for name in sorted(needed & set(self._constants)))
        line = first_line(node)
        return Context(
            self._file.package, self._file.module, f"{prefix}{node.name}{accessor(node)}", line,
            body_after_docstring(node)[0].lineno, node.end_lineno or node.lineno,
            dedented(self._lines[line - 1 : node.end_lineno]), signature(owner) if owner is not None else "",
            tuple(imports), tuple(constants),
        )  # fmt: skip

    def _take(self, node: ast.stmt) -> None:
        """What a statement of the module gives to its functions."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            node = absolute(node, self._file)
            self.imports.append(ast.unparse(node))
            for alias in node.names:
                self._imported[(alias.asname or alias.name).partition(".")[0]] = single_import(node, alias)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            written = ast.unparse(node)
            shown = written if len(written) <= CONSTANT_CHARS else f"{written[:CONSTANT_CHARS]}  # ... and more"
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name) and not name.id.startswith("__"):
                        self._constants[name.id] = shown

    def _skip_reason(self, node: Function) -> str:
        for decorator in node.decorator_list:
            if ast.unparse(decorator).rpartition(".")[2] == "overload":
                return "a signature only (overload)"
        body = body_after_docstring(node)
        if all(is_empty(statement) for statement in body):
            return "an empty body"
        return ""


def flat(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements in order, those under if, try and with as well: their names are the module's or class's too."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from flat([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            handled = [one for handler in statement.handlers for one in handler.body]
            yield from flat([*statement.body, *handled, *statement.orelse, *statement.finalbody])
        elif isinstance(statement, ast.With):
            yield from flat(statement.body)
        else:
            yield statement


def body_after_docstring(node: Definition) -> list[ast.stmt]:
    """The body behind the docstring; the docstring, where there is nothing else."""
    return node.body[1:] or node.body if ast.get_docstring(node, clean=False) is not None else node.body


def is_empty(statement: ast.stmt) -> bool:
    """Whether it does nothing but to say that others do it."""
    if isinstance(statement, ast.Raise) and statement.exc is not None:
        raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_constant or isinstance(statement, ast.Pass)


def accessor(node: Function) -> str:
    """ ".setter" of a property's setter: its name is the property's."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter", "getter"):
            return f".{decorator.attr}"
    return ""


def head(node: ast.ClassDef) -> ast.ClassDef:
    """The class without its methods' bodies: what it is, its fields, how one is made."""
    members: list[ast.stmt] = []
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            members.append(statement)
        elif isinstance(statement, Function) and statement.name in ("__init__", "__new__"):
            body: list[ast.stmt] = [ast.Expr(ast.Constant(...))]
            made = type(statement)(**{**dict(ast.iter_fields(statement)), "body": body})
            members.append(ast.copy_location(made, statement))
    fields = {**dict(ast.iter_fields(node)), "body": members or [ast.Pass()]}
    return ast.copy_location(ast.ClassDef(**fields), node)


def signature(node: ast.ClassDef) -> str:
    """The same as text, with the beginning of the docstring."""
    lines = ast.unparse(head(node)).split("\n")
    at = 1 + next(index for index, line in enumerate(lines) if line.startswith("class "))  # behind its decorators
    docstring = (ast.get_docstring(node) or "").strip().splitlines()[:CLASS_LINES]
    documented = [f"    {line}".rstrip() for line in ['"""' + docstring[0], *docstring[1:], '"""']] if docstring else []
    return "\n".join([*lines[:at], *documented, *lines[at:]])


def first_line(node: Function) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def dedented(lines: Sequence[str]) -> str:
    """Moved left by the first line's indent; what is inside strings stays as far as it is indented so much."""
    depth = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[depth:] if not line[:depth].strip() else line for line in lines)


def absolute(node: ast.Import | ast.ImportFrom, file: SourceFile) -> ast.Import | ast.ImportFrom:
    """The import as it reads from anywhere."""
    if isinstance(node, ast.Import) or not node.level:
        return node
    parts = file.module.split(".")
    base = parts[: len(parts) - node.level + (file.path.stem == "__init__")]
    return ast.ImportFrom(".".join([*base, *([node.module] if node.module else [])]), node.names, 0)


def single_import(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    """The import of this one name."""
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import([alias]))
    return ast.unparse(ast.ImportFrom(node.module, [alias], node.level))
