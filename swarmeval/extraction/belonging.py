"""Selects the statements of a text that are part of the answer, leaving out usage, tests and prose."""

import ast
import sys
from collections.abc import Collection, Sequence

from swarmeval.extraction.definitions import DEFINITIONS, defines, is_test
from swarmeval.extraction.names import IMPORTS, NOTHING, Names, bound_by, used_names
from swarmeval.extraction.needs import ModuleNames, reads_input

ASSIGNMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign)
BLOCKS = (ast.Try, ast.If, ast.For, ast.While, ast.With)
TALKS = frozenset({"print", "input", "stdin", "__name__"})


def belonging(nodes: Sequence[ast.stmt], last: int, entry_point: str) -> tuple[list[int], set[int]]:
    """(indices of the statements of the answer, those that the entry point needs).

    `last` is the index of the entry point's last definition. If it is -1, all bound names count.
    """
    asked = {entry_point}
    if last >= 0 and isinstance(nodes[last], ast.ClassDef):
        asked = {entry_point, *ModuleNames(nodes[last : last + 1], ()).names[0].bound}
    module = ModuleNames(nodes, asked)
    held = module.names
    core = module.needed(asked) if last >= 0 else set()
    tests = {i for i, node in enumerate(nodes) if last >= 0 and is_test(node, entry_point)}
    stays = {i for i in range(len(nodes)) if i not in tests and stays_anyway(nodes[i], held[i], i <= last, entry_point)}
    given = (*DEFINITIONS, *IMPORTS, *ASSIGNMENTS) if last < 0 else DEFINITIONS
    defined = [i for i, node in enumerate(nodes) if i not in tests and isinstance(node, given)]
    wide = module.needed({name for i in defined for name in held[i].bound}, stays)
    wide = {
        i for i in wide if isinstance(nodes[i], (*DEFINITIONS, *IMPORTS)) or not (module.is_usage(i) or talks(nodes[i]))
    }
    chosen = {i for i in core | wide | stays if not never_stays(nodes[i], held[i], i > last >= 0, entry_point)}
    chosen -= idle_imports(nodes, [names.bound for names in held], chosen, asked)
    return supported(nodes, held, sorted(chosen), core), core & chosen


def all_definitions(nodes: Sequence[ast.stmt], last: int, entry_point: str) -> list[int] | None:
    """Fast path of `belonging` for texts with definitions and imports only; None for other texts."""
    if not all(isinstance(node, (*DEFINITIONS, *IMPORTS)) and not is_test(node, entry_point) for node in nodes):
        return None
    bound = [frozenset(bound_by(node)) for node in nodes]
    chosen = {i for i in range(len(nodes)) if not i > last >= 0 or bound[i] != {entry_point}}
    asked = {entry_point, *bound[last]} if last >= 0 else {entry_point}
    return sorted(chosen - idle_imports(nodes, bound, chosen, asked))


def needed_by(nodes: Sequence[ast.stmt], wanted: Collection[str], entry_point: str) -> tuple[list[int], set[int]]:
    """Like `belonging`, for an entry point defined elsewhere: only the statements that the wanted names need."""
    module = ModuleNames(nodes, {entry_point})
    places = module.needed([*wanted, entry_point])
    chosen = {i for i in places if not never_stays(nodes[i], module.names[i], True, entry_point)}
    if chosen:
        chosen |= {
            i for i, node in enumerate(nodes) if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        }
    return sorted(chosen), chosen


def stays_anyway(node: ast.stmt, held: Names, before: bool, entry_point: str) -> bool:
    """Whether a statement is kept even if nothing needs it. `before`: not after the entry point's last definition."""
    if isinstance(node, (*IMPORTS, *DEFINITIONS)) or defines(node, entry_point):
        return True
    if held is NOTHING or not isinstance(node, (ast.Expr, *ASSIGNMENTS, *BLOCKS)):
        return False
    used = used_names(node)
    if used & TALKS:
        return False
    if isinstance(node, ast.Expr) and "setrecursionlimit" in used:
        return True
    if entry_point in used:
        return False
    if isinstance(node, ASSIGNMENTS):
        return before or not (held.bound or held.stored)
    return before and (isinstance(node, BLOCKS) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)))


def talks(node: ast.stmt) -> bool:
    """Whether a statement prints, reads input, or checks `__name__`."""
    return not used_names(node).isdisjoint(TALKS)


def never_stays(node: ast.stmt, held: Names, behind: bool, entry_point: str) -> bool:
    """Whether a statement must be dropped, because it could stop the program or overwrite the entry point."""
    if isinstance(node, ast.Assert) or reads_input(node, held):
        return True
    if behind and held.bound == {entry_point}:
        return True
    definition = isinstance(node, (*DEFINITIONS, *IMPORTS)) or defines(node, entry_point)
    return entry_point in held.bound and not definition


def idle_imports(
    nodes: Sequence[ast.stmt], bound: Sequence[Collection[str]], chosen: set[int], asked: set[str]
) -> set[int]:
    """Unused imports of modules outside the standard library, which may not be installed."""
    others = {i for i in chosen if isinstance(node := nodes[i], IMPORTS) and not is_standard(node)}
    if not others:
        return others
    used = {name for i in chosen if not isinstance(nodes[i], IMPORTS) for name in used_names(nodes[i])} | asked
    return {i for i in others if used.isdisjoint(bound[i]) and "*" not in bound[i]}


def supported(nodes: Sequence[ast.stmt], held: Sequence[Names], chosen: list[int], core: set[int]) -> list[int]:
    """The chosen statements, without those that need a name bound only by statements left out."""
    bound = {name for names in held for name in names.bound}
    there = {name for i in chosen for name in held[i].bound}
    result = []
    for i in chosen:
        if i in core or isinstance(nodes[i], (*DEFINITIONS, *IMPORTS)) or not held[i].read_now & bound - there:
            result.append(i)
    return result


def is_standard(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether a statement imports only from the standard library."""
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return all(module.partition(".")[0] in sys.stdlib_module_names for module in modules)
