"""Whether tests can fail at all, from their source alone. Runs nothing.

Sure only of what it refuses: tests that can fail in some way it does not follow are left to trying (see
swarmeval/doctor/trivial_answers.py).
"""

import ast
import re
from collections.abc import Iterator, Sequence

from swarmeval.errors import DataError
from swarmeval.extraction.names import used_names
from swarmeval.extraction.syntax import parse
from swarmeval.records import Task
from swarmeval.tasks.datasets import Dataset

LOOKED_AT_CHARS = 20_000  # longer tests are tables of inputs, and parsing all of them takes seconds
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
# What makes tests fail beside assert and raise, and what may call a function without naming it.
FAILING = re.compile(
    r"assert|fail|raises|exit|^(?:exec|eval|compile|globals|locals|vars|getattr|__import__|import_module)$",
    re.IGNORECASE,
)
CATCH_ALL = {"AssertionError", "Exception", "BaseException"}


def refuse_idle(tasks: Sequence[Task], dataset: Dataset) -> None:
    """Raises DataError for the first task whose tests cannot fail: whatever answers it would pass."""
    for task in tasks:
        if reason := idle(task.suite.text):
            raise DataError(
                f"{dataset.path}: task {task.task_id!r}: its tests cannot fail: {reason}; assert at the margin or in "
                "'def check(candidate):' (docs/adding-a-benchmark.md)"
            )


def idle(tests: str) -> str:
    """Why these tests cannot fail; "" where they may, and where they are not Python or too long to be looked at."""
    if len(tests) > LOOKED_AT_CHARS:
        return ""
    try:
        tree = parse(tests)
    except SyntaxError:
        return ""
    reached = list(live(tree))
    if any(map(may_fail, reached)):
        return ""
    functions = [node for node in reached if isinstance(node, Function) and node.name == "check"]
    if any(returns_at_once(node) for node in functions):
        return "check is async or a generator, and calling it runs nothing of it"
    ran = set(map(id, reached))
    idlers = [node.name for node in tree.body if isinstance(node, Definition) and not ran & set(map(id, inside(node)))]
    if idlers:
        return f"nothing calls {', '.join(idlers[:3])}"
    if all(
        isinstance(node, ast.Expr | ast.Constant | ast.Pass | ast.Import | ast.ImportFrom | ast.alias)
        for node in reached
    ):
        return "there are none"
    return "they assert nothing"


def inside(node: Definition) -> list[ast.stmt]:
    """The statements that run where it is called; of a class, those of its methods."""
    if isinstance(node, Function):
        return node.body
    return [statement for method in node.body if isinstance(method, Function) for statement in method.body]


def live(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node that running the module may come to: the body of a definition only where something names it."""
    definitions: dict[str, list[Definition]] = {}
    for node in ast.walk(tree):
        if isinstance(node, Definition):
            definitions.setdefault(node.name, []).append(node)
    lazy = {name for name, found in definitions.items() if all(map(returns_at_once, found))}
    names = set(definitions)
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        yield node
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        for definition in definitions.pop(name, ()):
            waiting += inside(definition)
        waiting += run_by(node, names, lazy)


def run_by(node: ast.AST, names: set[str], lazy: set[str]) -> Sequence[ast.AST]:
    """The parts of a node that run with it. `names`: of definitions here; `lazy`: those whose call alone runs nothing.

    A decorator from elsewhere, such as pytest's, calls nothing.
    """
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            decorators = [one for one in node.decorator_list if names & used_names(one)]
            return [*decorators, *node.args.defaults, *(node.body if decorators else ())]
        case ast.ClassDef():
            return [*node.bases, *node.body]
        case ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call) if name in lazy:
            return [*call.args, *call.keywords]
        case ast.If(test=test) if never(test):
            return node.orelse
        case ast.Try(handlers=handlers) if any(map(swallows, handlers)):
            return [*handlers, *node.orelse, *node.finalbody]
        case _:
            return list(ast.iter_child_nodes(node))


def may_fail(node: ast.AST) -> bool:
    match node:
        case ast.Assert(test=ast.Constant(value=value)):
            return not value
        case ast.Assert(test=ast.Tuple(elts=[_, *_])):
            return False  # assert (x == y, "message") is always true
        case ast.Assert() | ast.Raise():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return FAILING.search(name) is not None
        case _:
            return False


def returns_at_once(node: Definition) -> bool:
    """Whether a call of it runs nothing: it is async or a generator."""
    if isinstance(node, ast.AsyncFunctionDef):
        return True
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(inner, ast.Yield | ast.YieldFrom) for inner in own(node)
    )


def own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions in it."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Definition | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def never(test: ast.expr) -> bool:
    """Whether a condition is false in a judged program: those of `python file.py` are."""
    if isinstance(test, ast.Constant):
        return not test.value
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether it catches a failed assertion."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in CATCH_ALL) for kind in kinds)
