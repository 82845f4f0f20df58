"""The pieces of one reply: its tests, their dependencies, and the meaning of its names."""

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
    """The reply for one function."""

    function_id: str
    text: str
    prompt_imports: tuple[str, ...] = ()  # imports that its prompt showed
    subject: str = ""  # name of the code under test, copies of which are dropped
    is_code: bool = False  # whether the text is a module, not a reply


@dataclass(eq=False, slots=True)
class CodePiece:
    """One function, class or constant of a reply."""

    name: str
    node: ast.stmt
    text: str
    is_test: bool
    is_fixture: bool = False
    uses: frozenset[str] = frozenset()
    fixture_candidates: frozenset[str] = frozenset()  # names in parameters and marks that may be fixtures

    @property
    def takes_fixtures(self) -> bool:
        return self.is_test or self.is_fixture


@dataclass(slots=True)
class ReplyPieces:
    """The pieces of one reply, and its names."""

    function_id: str
    salt: str = ""  # digest of the whole text, to distinguish mutually recursive pieces
    tests: list[CodePiece] = field(default_factory=list)
    order: list[CodePiece] = field(default_factory=list)  # all pieces in their original order
    names: dict[str, CodePiece | Import] = field(default_factory=dict)  # binding of each name at the end of the reply
    identifiers: set[str] = field(default_factory=set)
    dotted: list[Import] = field(default_factory=list)  # imports of the form `import a.b`
    from_prompt: dict[str, Import] = field(default_factory=dict)  # imports shown in the prompt, by name
    star_modules: list[str] = field(default_factory=list)  # modules imported with `*`
    future: bool = False  # whether annotations are not evaluated
    dropped: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    _meanings: dict[int, str] = field(default_factory=dict)
    _in_progress: set[int] = field(default_factory=set)

    def unbound(self) -> set[str]:
        """The undefined names that its pieces use."""
        return {name for piece in self.order for name in piece.uses} - set(self.names) - BUILTINS

    def external_fixtures(self) -> set[str]:
        """The requested fixtures that the reply does not define: pytest's own, or unknown ones."""
        takers = [piece for piece in self.order if piece.takes_fixtures]
        return {name for piece in takers for name in piece.fixture_candidates - set(self.fixtures(piece))}

    def fixtures(self, piece: CodePiece) -> dict[str, CodePiece]:
        """The fixtures of this reply that a piece requests."""
        candidates = {name: self.names.get(name) for name in piece.fixture_candidates} if piece.takes_fixtures else {}
        return {name: one for name, one in candidates.items() if isinstance(one, CodePiece) and one.is_fixture}

    def dependencies(self, piece: CodePiece) -> dict[str, CodePiece | Import]:
        """All dependencies of a piece within this reply, in a deterministic order."""
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
        """A digest that is equal for pieces, also of different replies, that differ only in names."""
        known = self._meanings.get(id(piece))
        if known is None:
            if id(piece) in self._in_progress:
                return f"around {self.salt} {piece.name}"  # mutual recursion
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
        """All imports that bind a name: `import a.b` and `import a.c` both bind "a"."""
        return [one, *(other for other in self.dotted if (other.meaning, other.bound) == (one.meaning, one.bound))]

    def _reference(self, one: CodePiece | Import, user: CodePiece) -> str:
        if one is user:
            return "<itself>"
        return f"<{one.meaning if isinstance(one, Import) else self.meaning(one)}>"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
