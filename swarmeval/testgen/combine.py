"""Combines replies into one test file by syntax alone: merges imports and equal code, renames clashes, keeps order.

Pure and deterministic. Runs no code of a reply.
"""

import ast
import keyword
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from swarmeval.testgen.imports import Import, bound_as, import_statements
from swarmeval.testgen.pieces import BUILTINS, CodePiece, Part, ReplyPieces
from swarmeval.testgen.replies import is_same_statement
from swarmeval.testgen.reply_pieces import read_pieces, resolve, tests_in
from swarmeval.testgen.scopes import Definition, Function, renamed

FIXTURES = frozenset({
    "cache", "capfd", "capfdbinary", "caplog", "capsys", "capsysbinary", "capteesys", "doctest_namespace",
    "monkeypatch", "pytestconfig", "pytester", "record_property", "record_testsuite_property", "record_xml_attribute",
    "recwarn", "request", "subtests", "testdir", "tmp_path", "tmp_path_factory", "tmpdir", "tmpdir_factory",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class CombinedTest:
    """One test of a combined file."""

    name: str  # as in pytest: "test_a", "TestB::test_c"
    function_id: str  # function under test
    asserts: bool


@dataclass(frozen=True, slots=True)
class Combined:
    """A combined test file."""

    source: str  # a module that parses and compiles; "" if no test was kept
    tests: tuple[CombinedTest, ...]  # in file order
    dropped: dict[str, int]  # parts left out, counted by reason
    faults: dict[str, str]  # function id -> reason why nothing of its reply was kept, or its syntax error


@dataclass(slots=True)
class FileDraft:
    """A test file under construction."""

    imports: set[Import] = field(default_factory=set)
    statements: list[str] = field(default_factory=list)
    tests: list[tuple[str, str, ast.stmt]] = field(default_factory=list)  # name, function id, definition
    unbound: set[str] = field(default_factory=set)  # undefined names, which must stay undefined
    external_fixtures: frozenset[str] = frozenset()  # fixtures that no reply defines
    taken: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)  # meaning -> name in this file
    nodes: dict[str, ast.AST] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)


def combine(parts: Sequence[Part], without: Collection[Import] = ()) -> Combined:
    """Combine all parts into one test file. Tests that need an import in `without` are dropped."""
    file = FileDraft()
    replies = [read_pieces(part) for part in parts]
    shared: dict[str, Import] = {}
    for reply in replies:
        for name, one in [*reply.names.items(), *reply.from_prompt.items()]:
            if isinstance(one, Import):
                shared.setdefault(name, one)
    replies = [resolve(reply, shared, without) for reply in replies]
    file.unbound = {name for reply in replies for name in reply.unbound()}
    file.external_fixtures = FIXTURES.union(*(reply.external_fixtures() for reply in replies))
    for reply in replies:
        file.dropped.update(reply.dropped)
        _add(reply, file)
        if reply.broken or not reply.tests:
            file.faults[reply.function_id] = reply.broken[0] if reply.broken else "no tests in the reply"
    if not file.tests:
        return Combined("", (), dict(+file.dropped), file.faults)
    source = "\n\n\n".join(
        ["\n".join(import_statements(file.imports)), *file.statements] if file.imports else file.statements
    )
    tests = tuple(
        CombinedTest(
            name, function_id, asserts(node, file.nodes, methods_of(whole) if isinstance(whole, ast.ClassDef) else {})
        )
        for owner, function_id, whole in file.tests
        for name, node in _named(owner, whole)
    )
    return Combined(f"{source}\n", tests, dict(+file.dropped), file.faults)


def _named(owner: str, whole: ast.stmt) -> list[tuple[str, ast.stmt]]:
    """(name, code) of each test of a definition."""
    if not isinstance(whole, ast.ClassDef):
        return [(owner, whole)]
    methods = methods_of(whole)
    return [(name, methods[name.rpartition("::")[2]]) for name in tests_in(whole)]


def methods_of(node: ast.ClassDef) -> dict[str, ast.stmt]:
    return {one.name: one for one in node.body if isinstance(one, Function)}


def _add(pieces: ReplyPieces, file: FileDraft) -> None:
    """Add one reply's tests and their dependencies to the file."""
    needed: dict[str, CodePiece | Import] = {}
    fresh: list[CodePiece] = []
    for test in pieces.tests:
        meaning = pieces.meaning(test)
        if meaning in file.known:
            file.dropped["duplicate tests"] += 1
            continue
        needed |= pieces.dependencies(test)
        fresh.append(test)
        file.known[meaning] = _allot_name(test, pieces, file)
    names = {name: _place(name, one, pieces, file) for name, one in sorted(needed.items(), key=lambda item: item[0])}
    own = {id(piece): names[name] for name, piece in needed.items() if isinstance(piece, CodePiece)}
    own |= {id(test): file.known[pieces.meaning(test)] for test in fresh}
    file.dropped["helpers that no test uses"] += sum(
        not piece.is_test and piece not in needed.values() for piece in pieces.order
    )
    for piece in pieces.order:
        if id(piece) in own and own[id(piece)] not in file.nodes:
            _write(piece, own[id(piece)], names, pieces, file)
    if pieces.future and fresh:
        file.imports.add(Import("__future__", "annotations", "annotations"))


def _place(name: str, one: CodePiece | Import, pieces: ReplyPieces, file: FileDraft) -> str:
    """The name of a dependency in the file. Imports are added to the file."""
    if isinstance(one, Import):
        chosen = _shared_name(f"{one.meaning} as {one.bound}", name, pieces, file) or _free_name(name, pieces, file)
        file.known.setdefault(f"{one.meaning} as {one.bound}", chosen)
        file.imports.update(each for other in pieces.imports_behind(one) for each in bound_as(other, chosen))
        return chosen
    chosen = _shared_name(pieces.meaning(one), one.name, pieces, file) or _allot_name(one, pieces, file)
    file.known.setdefault(pieces.meaning(one), chosen)
    return chosen


def _shared_name(meaning: str, name: str, pieces: ReplyPieces, file: FileDraft) -> str:
    """The existing name of an equal definition in the file; "" if the reply uses that name differently."""
    known = file.known.get(meaning, "")
    return known if known == name or known not in pieces.identifiers else ""


def _allot_name(piece: CodePiece, pieces: ReplyPieces, file: FileDraft) -> str:
    return _free_name(piece.name, pieces, file, file.external_fixtures if piece.is_fixture else ())


def _free_name(name: str, pieces: ReplyPieces, file: FileDraft, reserved: Collection[str] = ()) -> str:
    """The name, with a number appended if it is already used in the file or in its reply."""
    chosen, number = name, 1
    while (
        chosen in reserved
        or chosen in file.taken | file.unbound | BUILTINS
        or (chosen != name and (chosen in pieces.identifiers or chosen in pieces.names or keyword.iskeyword(chosen)))
    ):
        number += 1
        chosen = f"{name}_{number}"
    file.taken.add(chosen)
    return chosen


def _write(piece: CodePiece, name: str, names: dict[str, str], pieces: ReplyPieces, file: FileDraft) -> None:
    """Add one definition with the names of this file, keeping its original text if no name changed."""
    changes = {old: names[old] for old in piece.uses if names.get(old, old) != old}
    fixtures = {old: names[old] for old in pieces.fixtures(piece) if names[old] != old}
    if piece.name != name or piece.name in changes:
        changes[piece.name] = name
    node = renamed(piece.node, changes, fixtures) if changes or fixtures else piece.node
    if isinstance(node, Definition):
        node.name = name
    keeps_text = not changes and not fixtures and piece.text and is_same_statement(piece.text, node)
    file.statements.append(piece.text.rstrip() if keeps_text else ast.unparse(ast.fix_missing_locations(node)))
    file.nodes[name] = node
    if piece.is_test:
        file.tests.append((name, pieces.function_id, node))


EXPECTS = {"raises", "warns", "deprecated_call", "fail", "xfail"}  # pytest functions


def asserts(node: ast.AST, defined: Mapping[str, ast.AST], methods: Mapping[str, ast.AST]) -> bool:
    """Whether a test asserts anything, directly or through code that it uses.

    `defined` are the functions and classes of its file, `methods` those of its class.
    """
    waiting, seen = [node], {id(node)}
    while waiting:
        for one in ast.walk(waiting.pop()):
            if _asserts(one):
                return True
            known = _definition_of(one, defined, methods)
            if known is not None and id(known) not in seen:
                seen.add(id(known))
                waiting.append(known)
    return False


def _definition_of(node: ast.AST, defined: Mapping[str, ast.AST], methods: Mapping[str, ast.AST]) -> ast.AST | None:
    """The definition that a node refers to; None if it is not among these. Parameters may refer to fixtures."""
    if isinstance(node, ast.Name):
        return defined.get(node.id)
    if isinstance(node, ast.arg):
        return defined.get(node.arg)
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    return methods.get(node.attr) if is_own and isinstance(node, ast.Attribute) else None


def _asserts(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return any(isinstance(one, ast.Name | ast.Call | ast.Attribute) for one in ast.walk(node.test))
    if isinstance(node, ast.Raise) and node.exc is not None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(raised, ast.Name) and raised.id == "AssertionError"
    if isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        # numpy.testing.assert_allclose, unittest's assertEqual, mock's assert_called_once
        return name in EXPECTS or name.lstrip("_").startswith("assert")
    return False
