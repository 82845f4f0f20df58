"""Static analysis of the module-level names that one statement reads, binds and changes. Runs nothing."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

IMPORTS = (ast.Import, ast.ImportFrom)
# Most nodes of a tree. They neither name anything nor have children that do.
UNNAMED = (ast.Constant, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
LEAVES = (ast.Name, ast.alias, *IMPORTS)  # their children name nothing


@dataclass(slots=True)
class Scope:
    """A block with its own names, and how its code uses names."""

    above: "Scope | None" = None
    kind: str = "module"  # "function", "class" or "comprehension"
    later: bool = False  # whether its code runs only when a function is called
    bound: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)  # `global`
    read: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)  # x of `x.a = 1`, `x[0] = 1`, `del x[0]`
    acted: set[tuple[str, str]] = field(default_factory=set)  # (x, append) of `x.append(1)`, `x[0].append(1)`
    passed: set[str] = field(default_factory=set)  # x of `f(x)`, `f(x.append)`
    called: set[str] = field(default_factory=set)  # f of `f(x)`

    def is_local(self, name: str) -> bool:
        """Whether the name, used in this scope, refers to something other than a module-level name."""
        scope: Scope | None = self
        while scope is not None and scope.above is not None:
            if name in scope.declared:
                return False
            if name in scope.bound and scope.kind != "class":  # a class body may read a global of the same name
                return True
            scope = scope.above
        return False

    def home(self) -> "Scope":
        """The scope in which `:=` binds, which skips comprehensions."""
        return self.above.home() if self.kind == "comprehension" and self.above is not None else self


@dataclass(frozen=True, slots=True)
class Names:
    """The module-level names that one statement uses. Uses inside functions count as later."""

    bound: frozenset[str]
    read: frozenset[str]
    read_now: frozenset[str]
    stored: frozenset[str]
    acted: frozenset[tuple[str, str]]
    passed: frozenset[str]
    called: frozenset[str]
    changed_later: frozenset[str]
    called_later: frozenset[str]


def names(statement: ast.stmt) -> Names:
    """Analyse how a statement uses the names of its module."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.Constant):
        return NOTHING  # usually prose
    scopes = _scopes(statement)
    if len(scopes) == 1:
        return _of_module(scopes[0])
    now = [scope for scope in scopes if not scope.later]
    later = [scope for scope in scopes if scope.later]
    rebound = {name for scope in later for name in scope.bound & scope.declared}
    changed = rebound | {root for scope in later for root in _free(scope, scope.stored | scope.passed)}
    changed |= {root for scope in later for root, _ in scope.acted if not scope.is_local(root)}
    return Names(
        bound=frozenset(scopes[0].bound),
        read=_all_free(scopes, "read"),
        read_now=_all_free(now, "read"),
        stored=_all_free(now, "stored"),
        acted=frozenset(act for scope in now for act in scope.acted if not scope.is_local(act[0])),
        passed=_all_free(now, "passed"),
        called=_all_free(now, "called"),
        changed_later=frozenset(changed),
        called_later=_all_free(later, "called"),
    )


def _of_module(scope: Scope) -> Names:
    """The same for a statement without inner scopes, where every name is the module's."""
    read, nothing = frozenset(scope.read), frozenset[str]()
    return Names(
        bound=frozenset(scope.bound),
        read=read,
        read_now=read,
        stored=frozenset(scope.stored - {""}),
        acted=frozenset(scope.acted),
        passed=frozenset(scope.passed - {""}),
        called=frozenset(scope.called),
        changed_later=nothing,
        called_later=nothing,
    )


NOTHING = Names(*[frozenset()] * 9)


def root(node: ast.expr) -> str:
    """The name at the root of attributes and subscripts; "" if there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def bound_by(node: ast.AST) -> Iterator[str]:
    """Names that a node itself binds, without its children."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in aliases)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)) | ast.arg(arg=name):
            yield name


def _free(scope: Scope, used: set[str]) -> set[str]:
    return {name for name in used if name and not scope.is_local(name)}


def _all_free(scopes: list[Scope], what: str) -> frozenset[str]:
    return frozenset(name for scope in scopes for name in _free(scope, getattr(scope, what)))


def _scopes(statement: ast.stmt) -> list[Scope]:
    """All scopes in a statement, the module's first. Not recursive, because trees may be deep."""
    scopes = [Scope()]
    waiting: list[tuple[ast.AST, Scope]] = [(statement, scopes[0])]
    named = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None  # a lambda that gets a name
    while waiting:
        node, scope = waiting.pop()
        _note(node, scope)
        inner, inside, outside = _opened(node, scope)
        inner.later |= node is named and isinstance(node, ast.Lambda)
        if inner is not scope:
            scopes.append(inner)
        waiting.extend((child, inner) for child in inside)
        waiting.extend((child, scope) for child in outside)
    return scopes


def _opened(node: ast.AST, scope: Scope) -> tuple[Scope, list[ast.AST], list[ast.AST]]:
    """The scope that a node opens (else the current one), its children inside that scope, and those outside."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            held = _arguments(node.args)
            inner = Scope(scope, "function", later=True, bound={argument.arg for argument in held})
            notes = [note for argument in held if (note := argument.annotation)] + (
                [node.returns] if node.returns else []
            )
            return inner, [*node.body], [*node.decorator_list, *notes, *_defaults(node.args)]
        case ast.Lambda():
            inner = Scope(scope, "function", scope.later, bound={argument.arg for argument in _arguments(node.args)})
            return inner, [node.body], _defaults(node.args)
        case ast.ClassDef():
            inner = Scope(scope, "class", scope.later)
            return inner, [*node.body], [*node.decorator_list, *node.bases, *node.keywords]
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            return Scope(scope, "comprehension", scope.later), [*ast.iter_child_nodes(node)], []
    if isinstance(node, LEAVES):
        return scope, [], []
    return scope, [child for child in ast.iter_child_nodes(node) if not isinstance(child, UNNAMED)], []


def _arguments(held: ast.arguments) -> list[ast.arg]:
    extra = [argument for argument in (held.vararg, held.kwarg) if argument is not None]
    return [*held.posonlyargs, *held.args, *held.kwonlyargs, *extra]


def _defaults(held: ast.arguments) -> list[ast.AST]:
    return [*held.defaults, *(default for default in held.kw_defaults if default is not None)]


def _note(node: ast.AST, scope: Scope) -> None:
    """Record how a node itself uses names, without its children."""
    scope.bound.update(bound_by(node))
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            scope.read.add(name)
        case ast.Attribute(attr="stdin"):
            scope.read.add("stdin")  # treated like an imported name
        case ast.Global(names=declared):
            scope.declared.update(declared)
        case ast.NamedExpr(target=target):
            scope.home().bound.add(target.id)
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            scope.stored.add(root(node))
        case ast.Call(func=function, args=given, keywords=keywords):
            if isinstance(function, ast.Name):
                scope.called.add(function.id)
            elif isinstance(function, ast.Attribute):
                scope.acted.add((root(function), function.attr))
            scope.passed.update(root(value) for value in [*given, *(keyword.value for keyword in keywords)])


def used_names(node: ast.AST) -> set[str]:
    """All names and attributes that the code mentions."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, ast.Name):
            found.add(inner.id)
            continue
        if isinstance(inner, ast.Attribute):
            found.add(inner.attr)
        waiting.extend(child for child in ast.iter_child_nodes(inner) if not isinstance(child, UNNAMED))
    return found
