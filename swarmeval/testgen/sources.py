"""Reads modules of packages into one context per function or method, for writing tests. Parses without importing.

Only one module is in memory at a time.
"""

import ast
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from swarmeval.extraction.syntax import parse
from swarmeval.testgen.packages import Skips, SourceFile, find_roots, read_source, shuffled, source_files
from swarmeval.testgen.scopes import Definition, Function, uses

CLASS_LINES = 12  # limit for a class's docstring
CONSTANT_CHARS = 400  # limit for a constant that a function uses


@dataclass(frozen=True, slots=True)
class Context:
    """One function or method, with the parts of its module that a test author needs."""

    package: str
    module: str
    qualname: str  # "Class.method"; a property's setter is "Class.name.setter"
    line: int  # first line, decorators included; all lines count from 1
    body_line: int  # first line of the body after the docstring
    end_line: int
    source: str  # dedented, with decorators
    class_signature: str = ""  # header, docstring, fields and constructor of its class
    imports: tuple[str, ...] = ()  # imports of the module that it uses
    constants: tuple[str, ...] = ()  # constants of the module that it uses

    @property
    def function_id(self) -> str:
        """ "numpy.linalg:norm": the key that joins all data about the function."""
        return f"{self.module}:{self.qualname}"

    @property
    def subject(self) -> str:
        """The name that its tests import: that of the function or of its outermost class."""
        return self.qualname.partition(".")[0]

    @property
    def text(self) -> str:
        """The whole context as an abridged source file."""
        source = textwrap.indent(self.source, "    ") if self.class_signature else self.source
        parts = ["\n".join(self.imports), "\n".join(self.constants), self.class_signature, source]
        return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file."""

    file: SourceFile
    functions: tuple[Context, ...]  # in line order
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
    """Yield the modules of these packages (names or paths) that have a function to test.

    Samples `files_per_package` modules of each by the seed; without it, yields all in name order. If a context does not
    fit, its constants, imports and class are left out in turn. Raises DataError if a package is missing, before reading
    any file.
    """
    package_roots = find_roots(packages)
    return _modules([source_files(root, skips) for root in package_roots], skips, fits, files_per_package, seed)


def _modules(
    listed: Sequence[Sequence[SourceFile]], skips: Skips, fits: Fits, most: int | None, seed: int
) -> Iterator[Module]:
    counts: dict[str, int] = {}  # per package
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
    """Read a file's functions; None, with a reason in `skips`, if it has none or cannot be parsed."""
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
    """Reduce a context until it fits; None, with a reason in `skips`, if its source alone is too long."""
    shorter = replace(context, constants=())
    for one in (context, shorter, replace(shorter, imports=()), replace(shorter, imports=(), class_signature="")):
        if fits(one):
            return one
    skips.add("too long for the model", context.function_id)
    return None


class ModuleReader:
    """Collects the functions, classes and imports of a parsed file."""

    def __init__(self, file: SourceFile, source: str, tree: ast.Module) -> None:
        self.classes: list[str] = []
        self.imports: list[str] = []
        self._file = file
        self._lines = source.split("\n")
        self._tree = tree
        self._imported: dict[str, str] = {}  # name -> import statement
        self._constants: dict[str, str] = {}  # name -> assignment
        self._ids: set[str] = set()
        for statement in flat(tree.body):
            self._take(statement)

    def contexts(self, skips: Skips) -> Iterator[Context]:
        """Yield the functions and methods that can be called from outside and are not empty."""
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
                    skips.add("inside another function, whose context contains it", f"{name}.{inner.name}")
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
        """Record the imports and constants of a module-level statement."""
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
    """Yield statements in order, including those under if, try and with, whose names belong to the same scope."""
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
    """The body after the docstring; only the docstring if there is nothing else."""
    return node.body[1:] or node.body if ast.get_docstring(node, clean=False) is not None else node.body


def is_empty(statement: ast.stmt) -> bool:
    """Whether a statement is a placeholder: a constant, `pass`, or raising NotImplementedError."""
    if isinstance(statement, ast.Raise) and statement.exc is not None:
        raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_constant or isinstance(statement, ast.Pass)


def accessor(node: Function) -> str:
    """The suffix ".setter" and the like for accessors of a property, which share its name; else ""."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter", "getter"):
            return f".{decorator.attr}"
    return ""


def head(node: ast.ClassDef) -> ast.ClassDef:
    """The class with its bases, fields and constructor signature only."""
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
    """The reduced class as text, with the start of its docstring."""
    lines = ast.unparse(head(node)).split("\n")
    at = 1 + next(index for index, line in enumerate(lines) if line.startswith("class "))  # after its decorators
    docstring = (ast.get_docstring(node) or "").strip().splitlines()[:CLASS_LINES]
    documented = [f"    {line}".rstrip() for line in ['"""' + docstring[0], *docstring[1:], '"""']] if docstring else []
    return "\n".join([*lines[:at], *documented, *lines[at:]])


def first_line(node: Function) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def dedented(lines: Sequence[str]) -> str:
    """Dedent lines by the first line's indentation. Less indented lines, as in strings, stay unchanged."""
    depth = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[depth:] if not line[:depth].strip() else line for line in lines)


def absolute(node: ast.Import | ast.ImportFrom, file: SourceFile) -> ast.Import | ast.ImportFrom:
    """Convert a relative import to an absolute one."""
    if isinstance(node, ast.Import) or not node.level:
        return node
    parts = file.module.split(".")
    base = parts[: len(parts) - node.level + (file.path.stem == "__init__")]
    return ast.ImportFrom(".".join([*base, *([node.module] if node.module else [])]), node.names, 0)


def single_import(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    """The import statement of a single name."""
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import([alias]))
    return ast.unparse(ast.ImportFrom(node.module, [alias], node.level))
