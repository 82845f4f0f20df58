"""One reply as pieces of a test file: its tests, what they use, and what its names mean. Knows one reply at a time."""

import ast
import builtins
import hashlib
from collections import Counter
from dataclasses import dataclass, field

from swarmeval.testgen.imports import Import
from swarmeval.testgen.scopes import Definition, renamed

BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Part:
    """What was written for one function."""

    function_id: str
    text: str
    prompt_imports: tuple[str, ...] = ()  # imports that its prompt said were there
    subject: str = ""  # the name of what it tests: a copy of that is no helper
    is_code: bool = False  # the text is a module, not a reply


@dataclass(eq=False, slots=True)
class CodePiece:
    """One function, class or constant."""

    name: str
    node: ast.stmt
    text: str
    is_test: bool
    is_fixture: bool = False
    uses: frozenset[str] = frozenset()
    fixture_candidates: frozenset[str] = frozenset()  # names of the fixtures that it may mean, by parameters and marks

    @property
    def takes_fixtures(self) -> bool:
        return self.is_test or self.is_fixture


@dataclass(slots=True)
class ReplyPieces:
    """A reply, read."""

    function_id: str
    salt: str = ""  # of the whole text, for what cannot be distinguished by itself
    tests: list[CodePiece] = field(default_factory=list)
    order: list[CodePiece] = field(default_factory=list)  # all pieces as they stood
    names: dict[str, CodePiece | Import] = field(default_factory=dict)  # what a name means behind the last statement
    identifiers: set[str] = field(default_factory=set)
    dotted: list[Import] = field(default_factory=list)  # of modules that are reached through another's name
    from_prompt: dict[str, Import] = field(default_factory=dict)  # what the prompt said was imported, by name
    star_modules: list[str] = field(default_factory=list)  # modules of which everything was imported
    future: bool = False  # annotations are not computed
    dropped: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    _meanings: dict[int, str] = field(default_factory=dict)
    _in_progress: set[int] = field(default_factory=set)

    def unbound(self) -> set[str]:
        """The names that its pieces use and that mean nothing."""
        return {name for piece in self.order for name in piece.uses} - set(self.names) - BUILTINS

    def external_fixtures(self) -> set[str]:
        """The fixtures that its tests ask for and it does not define: pytest's own, or none."""
        takers = [piece for piece in self.order if piece.takes_fixtures]
        return {name for piece in takers for name in piece.fixture_candidates - set(self.fixtures(piece))}

    def fixtures(self, piece: CodePiece) -> dict[str, CodePiece]:
        """The fixtures of this reply that a piece asks for."""
        candidates = {name: self.names.get(name) for name in piece.fixture_candidates} if piece.takes_fixtures else {}
        return {name: one for name, one in candidates.items() if isinstance(one, CodePiece) and one.is_fixture}

    def dependencies(self, piece: CodePiece) -> dict[str, CodePiece | Import]:
        """All that a piece needs, of this reply, in an order that does not change."""
        needed: dict[str, CodePiece | Import] = {}
        waiting = [piece]
        while waiting:
            one = waiting.pop(0)
            for name in sorted(one.uses | set(self.fixtures(one))):
                value = self.names.get(name)
                if value is not None and name not in needed:
                    needed[name] = value
                    waiting += [value] if isinstance(value, CodePiece) else []
        return needed

    def meaning(self, piece: CodePiece) -> str:
        """Equal where two pieces, of whatever replies, do the same under whatever names."""
        known = self._meanings.get(id(piece))
        if known is None:
            if id(piece) in self._in_progress:
                return f"around {self.salt} {piece.name}"  # it comes back to itself by others
            self._in_progress.add(id(piece))
            references = {
                name: self._reference(self.names[name], piece) for name in sorted(piece.uses) if name in self.names
            }
            fixtures = {name: self._reference(one, piece) for name, one in sorted(self.fixtures(piece).items())}
            node = renamed(piece.node, references, fixtures)
            if isinstance(node, Definition):
                node.name = ""
            elif isinstance(node, ast.Assign):
                node.targets = []
            self._in_progress.remove(id(piece))
            known = digest(ast.dump(node))
            self._meanings[id(piece)] = known
        return known

    def imports_behind(self, one: Import) -> list[Import]:
        """The imports behind a name: `import a.b` and `import a.c` both bind "a"."""
        return [one, *(other for other in self.dotted if (other.meaning, other.bound) == (one.meaning, one.bound))]

    def _reference(self, one: CodePiece | Import, user: CodePiece) -> str:
        if one is user:
            return "<itself>"
        return f"<{one.meaning if isinstance(one, Import) else self.meaning(one)}>"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
