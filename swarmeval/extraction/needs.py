"""Finds the statements of a module that an entry point needs: its definition, the names it reads, and their set-up.

A statement that calls the entry point, reads input, prints or asserts is usage, and needed only for the names it binds.
The analysis is static and keeps a statement in doubt, because a superfluous statement rarely does harm.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from swarmeval.extraction.definitions import DEFINITIONS
from swarmeval.extraction.names import IMPORTS, Names, names, root

SETTERS = (
    "set",
    "seed",
    "register",
    "update",
    "filterwarnings",
    "simplefilter",
)  # prefixes of functions that change settings or data
BY_NAME = frozenset({"globals", "vars", "locals", "eval", "exec", "getattr", "setattr", "delattr", "__import__"})
WORD = re.compile(r"[^\W\d]\w*")


class ModuleNames:
    """The module-level statements of one text, and how they use each other's names."""

    def __init__(self, nodes: Sequence[ast.stmt], entry_points: Collection[str]) -> None:
        self._nodes = nodes
        self._entry_points = frozenset(entry_points)
        self.names = [names(node) for node in nodes]
        self._binders: dict[str, list[int]] = defaultdict(list)
        for place, held in enumerate(self.names):
            for name in held.bound:
                self._binders[name].append(place)
        self._data = {
            name
            for name, places in self._binders.items()
            if not all(isinstance(nodes[place], (*DEFINITIONS, *IMPORTS)) for place in places)
        }
        self._reached: dict[str, set[str]] = {}
        self._changes = [self._changed_by(place) for place in range(len(nodes))]
        self._changers: dict[str, list[int]] = defaultdict(list)
        for place, changed in enumerate(self._changes):
            for name in changed:
                self._changers[name].append(place)

    def needed(self, wanted: Iterable[str], also: Iterable[int] = ()) -> set[int]:
        """Indices of the statements that the wanted names need, and that the statements `also` need when they run."""
        seen: set[str] = set()
        places: set[int] = set()
        waiting = [*wanted, *(name for place in also for name in self.names[place].read_now)]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for place in (*self._binders[name], *self._changers[name]):
                if place not in places:
                    places.add(place)
                    waiting += self._reads(place)
        return places

    def is_usage(self, place: int) -> bool:
        """Whether a statement only demonstrates or tests the answer."""
        node, held = self._nodes[place], self.names[place]
        if isinstance(node, ast.Assert) or prints(node) or reads_input(node, held):
            return True
        if not held.acted and not held.called:
            return False
        asked = {name for name, method in held.acted if not method.startswith(SETTERS)}
        asked = asked.union(*(self._calls(name) for name in held.called))
        return not asked.isdisjoint(self._entry_points)

    def _reads(self, place: int) -> frozenset[str]:
        """Names that a statement reads, including names in strings if it looks names up."""
        held = self.names[place]
        if not held.read & BY_NAME:
            return held.read
        texts = (node.value for node in ast.walk(self._nodes[place]) if isinstance(node, ast.Constant))
        return held.read.union(*(WORD.findall(text) for text in texts if isinstance(text, str)))

    def _over(self, name: str, what: str) -> set[str]:
        """Union of one attribute over all statements that bind a name."""
        empty: set[str] = set()
        return empty.union(*(getattr(self.names[place], what) for place in self._binders[name]))

    def _changed_by(self, place: int) -> set[str]:
        """Names whose values a statement sets up, directly or through calls; for usage only those it stores to."""
        node, held = self._nodes[place], self.names[place]
        if isinstance(node, (*DEFINITIONS, *IMPORTS)):
            return set()
        changed = set(held.stored) if not reads_input(node, held) else set()
        if self.is_usage(place):
            return changed
        if held.called & BY_NAME:
            changed |= self._reads(place)
        for name, method in held.acted:
            if name in self._data or method.startswith(SETTERS):
                changed.add(name)
        changed |= held.passed & self._data
        for name in held.called:
            for function in self._calls(name):
                changed |= self._over(function, "changed_later")
        return changed

    def _calls(self, name: str) -> set[str]:
        """A function and all functions that it calls, directly or indirectly."""
        if name not in self._reached:
            reached: set[str] = set()
            waiting = [name]
            while waiting:
                other = waiting.pop()
                if other not in reached:
                    reached.add(other)
                    waiting += self._over(other, "called_later")
            self._reached[name] = reached
        return self._reached[name]


def prints(node: ast.stmt) -> bool:
    """Whether the statement calls print."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and root(node.value.func) == "print"


def reads_input(node: ast.stmt, held: Names) -> bool:
    """Whether a statement reads input when it runs. Statements under `try` do not count, as they handle its absence."""
    if isinstance(node, (ast.Try, *DEFINITIONS)):
        return False
    if "input" in held.called:
        return True
    named = isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
        node.value, ast.Name | ast.Attribute | ast.Lambda
    )
    return "stdin" in held.read_now and not named  # assigning stdin to a name reads nothing
