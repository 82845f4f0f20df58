"""Static check that a task's tests can fail. Reads their source and runs nothing.

Refuses only tests that certainly cannot fail. Unclear cases pass this check; swarmeval/doctor/trivial_answers.py
tries them.
"""

import ast
import re
from collections.abc import Iterator, Sequence

from swarmeval.errors import DataError
from swarmeval.extraction.names import used_names
from swarmeval.extraction.syntax import parse
from swarmeval.records import Task
from swarmeval.tasks.datasets import Dataset

LOOKED_AT_CHARS = 20_000  # longer tests are tables of inputs, which take seconds to parse
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
# Names that can make tests fail without assert or raise, or that can call a function without naming it.
FAILING = re.compile(
    r"assert|fail|raises|exit|^(?:exec|eval|compile|globals|locals|vars|getattr|__import__|import_module)$",
    re.IGNORECASE,
)
CATCH_ALL = {"AssertionError", "Exception", "BaseException"}


def refuse_idle(tasks: Sequence[Task], dataset: Dataset) -> None:
    """Raises DataError for the first task whose tests cannot fail, because any answer would pass.

    Executed tasks are checked for tests or cases when their rows are read. Their tests may be in any language.
    """
    for task in tasks:
        if task.executed is None and (reason := idle(task.suite.text)):
            raise DataError(
                f"{dataset.path}: task {task.task_id!r}: its tests cannot fail: {reason}; write assertions at module "
                "level or in 'def check(candidate):' (docs/adding-a-benchmark.md)"
            )


def idle(tests: str) -> str:
    """The reason why tests cannot fail; "" if they may fail, are not valid Python, or are too long to check."""
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
        return "check is async or a generator, so calling it does not run its body"
    ran = set(map(id, reached))
    idlers = [node.name for node in tree.body if isinstance(node, Definition) and not ran & set(map(id, inside(node)))]
    if idlers:
        return f"nothing calls {', '.join(idlers[:3])}"
    if all(
        isinstance(node, ast.Expr | ast.Constant | ast.Pass | ast.Import | ast.ImportFrom | ast.alias)
        for node in reached
    ):
        return "there are no tests"
    return "they assert nothing"


def inside(node: Definition) -> list[ast.stmt]:
    """The statements that run if a function is called, or if a class's methods are."""
    if isinstance(node, Function):
        return node.body
    return [statement for method in node.body if isinstance(method, Function) for statement in method.body]


def live(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield every node that running the module may reach. A definition's body counts only if code names it."""
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
    """The children of a node that run when it runs.

    `names` are the module's definitions, `lazy` those whose call runs nothing (async functions and generators).
    Decorators defined elsewhere, such as pytest's, are assumed to call nothing.
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
    """Whether calling a function runs none of its body, because it is async or a generator."""
    if isinstance(node, ast.AsyncFunctionDef):
        return True
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(inner, ast.Yield | ast.YieldFrom) for inner in own(node)
    )


def own(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of nested functions and classes."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Definition | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def never(test: ast.expr) -> bool:
    """Whether a condition is false in a judged program, as `__name__ == "__main__"` is."""
    if isinstance(test, ast.Constant):
        return not test.value
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches a failed assertion."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in CATCH_ALL) for kind in kinds)
