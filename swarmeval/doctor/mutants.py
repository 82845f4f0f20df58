"""Wrong solutions, made by changing one constant or operator of a correct one (mutation testing, DeMillo et al. 1978).

A judge that passes a mutant accepts wrong answers. The changes that make a solution wrong were selected with the
unmodified reference evaluator, and the tests check them against it.
"""

import ast
import copy
from collections.abc import Iterator

from swarmeval.records import Task

SWAPS: dict[type, type[ast.AST]] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Sub, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And, ast.USub: ast.UAdd,
}  # fmt: skip
# Task -> index of the first change that makes its solution fail quickly on every call of its tests; 0 for other tasks.
CHOSEN = {
    "HumanEval/13": 1, "HumanEval/32": 10, "HumanEval/35": 1, "HumanEval/39": 2, "HumanEval/40": 3,
    "HumanEval/64": 1, "HumanEval/89": 1, "HumanEval/93": 1, "HumanEval/108": 1, "HumanEval/115": 1, "HumanEval/129": 3,
    "HumanEval/147": 1,
}  # fmt: skip


def mutant(task: Task, solution: str) -> str:
    """Make a wrong program for a task from a correct completion."""
    changed = list(mutants(task, solution))
    return changed[CHOSEN.get(task.task_id, 0)]


def mutants(task: Task, solution: str) -> Iterator[str]:
    """Yield every program that differs from the solution in one constant or operator of the entry point."""
    tree = ast.parse(task.prompt + solution)
    count = sum(1 for _ in _changes(_function(tree, task.entry_point)))
    for number in range(count):
        changed = copy.deepcopy(tree)
        for at, _ in enumerate(_changes(_function(changed, task.entry_point))):
            if at == number:
                break  # the change stays applied while the generator is suspended
        yield ast.unparse(changed)


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)


def _changes(function: ast.FunctionDef) -> Iterator[None]:
    """Apply one change after another, and undo each before the next."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    nodes = [node for statement in body for node in ast.walk(statement)]
    for node in nodes:
        for field in ("op", "ops", "value"):
            old = getattr(node, field, None)
            for new in _replacements(node, field, old):
                setattr(node, field, new)
                yield
                setattr(node, field, old)
    for node in nodes:
        if isinstance(node, ast.Return) and node.value is not None:  # for functions without constants and operators
            old = node.value
            node.value = ast.UnaryOp(ast.Not(), old)
            yield
            node.value = old


def _replacements(node: ast.AST, field: str, old: object) -> Iterator[object]:
    """Yield the values that replace the current value of a field."""
    if field == "ops" and isinstance(old, list):
        for place, operator in enumerate(old):
            if type(operator) in SWAPS:
                yield [*old[:place], SWAPS[type(operator)](), *old[place + 1 :]]
    elif field == "op" and type(old) in SWAPS:
        yield SWAPS[type(old)]()
    elif field == "value" and isinstance(node, ast.Constant):
        if isinstance(old, bool):
            yield not old
        elif isinstance(old, int | float):
            yield old + 1
        elif isinstance(old, str):
            yield old + "x"
