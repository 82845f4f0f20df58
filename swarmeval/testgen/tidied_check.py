"""Checks whether a tidied test file may replace the original, by syntax alone. Runs nothing.

It may if every function keeps a test and every asserting test still asserts. The quality of the tests is not compared
here; they are evaluated later like all test files.
"""

import ast
import copy
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace

from swarmeval.extraction.syntax import check, describe, parse
from swarmeval.testgen import replies
from swarmeval.testgen.combine import FIXTURES, Combined, CombinedTest, combine
from swarmeval.testgen.imports import Import, bindings, import_statements
from swarmeval.testgen.pieces import BUILTINS, Part
from swarmeval.testgen.replies import ReplyStatement
from swarmeval.testgen.reply_pieces import is_test, read_pieces, resolve, tests_in
from swarmeval.testgen.scopes import Definition, Function

UNKNOWN = "tests of other names"  # they belong to no known function


class Unsafe(Exception):
    """A tidied file may not replace the original. str() gives the reason in one line."""


def accept(before: Combined, reply: str) -> Combined:
    """Read the tidied file from a reply, assigning its tests to the same functions as before. Raises Unsafe."""
    try:
        after = _read(before, reply)
        _check(before, after)
    except SyntaxError as error:
        raise Unsafe(f"does not parse: {describe(error)}") from None
    except RecursionError:
        raise Unsafe("nested too deeply") from None
    return after


def _read(before: Combined, reply: str) -> Combined:
    """Combine a reply into a test file. Imports of the original that the reply omits are kept."""
    code = replies.read(reply)
    if code.broken:
        raise Unsafe(f"does not parse: {code.broken[0]}")
    imports = list(_imports(before.source))
    owners = {test.name: test.function_id for test in before.tests}
    dropped: Counter[str] = Counter()
    statements = list(_known_statements(code.statements, {one.bound for one in imports}, owners, dropped))
    names = Counter(one.node.name for one in statements if isinstance(one.node, Definition) and is_test(one.node))
    for name, count in names.items():
        if count > 1:
            raise Unsafe(f"defines {name} {count} times")
    _keep_imports(imports, statements)
    source = "\n".join([*import_statements(imports), *(one.text or ast.unparse(one.node) for one in statements)])
    after = combine([Part("", source, is_code=True)])
    if not after.tests:
        raise Unsafe("contains none of the tests")
    for test in after.tests:
        if test.name not in owners:
            raise Unsafe(f"{test.name} cannot keep its name")
    tests = tuple(CombinedTest(test.name, owners[test.name], test.asserts) for test in after.tests)
    return replace(after, tests=tests, dropped=dict(Counter(after.dropped) + dropped), faults=before.faults)


def _known_statements(
    statements: Collection[ReplyStatement], imported: Collection[str], known: Collection[str], dropped: Counter[str]
) -> Iterator[ReplyStatement]:
    """Yield the statements, without tests of unknown names and definitions that would shadow an import."""
    for one in statements:
        node = one.node
        if isinstance(node, Definition) and is_test(node):
            unknown = [name for name in tests_in(node) if name not in known]
            dropped[UNKNOWN] += len(unknown)
            if len(unknown) == len(tests_in(node)):
                continue
            yield _without(node, unknown) if unknown else one
        elif _name(node) in imported:
            dropped["copies of the code under test"] += 1
        else:
            yield one


def _without(node: ast.stmt, names: Collection[str]) -> ReplyStatement:
    """A copy of a class without these tests."""
    less = copy.deepcopy(node)
    assert isinstance(less, ast.ClassDef)
    less.body = [
        one for one in less.body if not (isinstance(one, Function) and f"{less.name}::{one.name}" in names)
    ]  # fmt: skip
    return ReplyStatement(less, "")


def _name(node: ast.stmt) -> str:
    if isinstance(node, Definition):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return target.id if isinstance(target, ast.Name) else ""


def _imports(source: str) -> Iterator[Import]:
    for node in parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from bindings(node)


def _keep_imports(imports: Collection[Import], statements: Collection[ReplyStatement]) -> None:
    """Raises Unsafe if an imported name would change its meaning."""
    meanings = {one.bound: one.meaning for one in imports}
    for statement in statements:
        if isinstance(statement.node, ast.Import | ast.ImportFrom):
            for one in bindings(statement.node):
                if meanings.get(one.bound, one.meaning) != one.meaning:
                    raise Unsafe(f"{one.bound} is imported from elsewhere")


def _check(before: Combined, after: Combined) -> None:
    """Raises Unsafe if tests or definitions are missing, and SyntaxError if the file does not compile."""
    for node in parse(after.source).body:
        check(node)
    left = {test.function_id for test in after.tests}
    for test in before.tests:
        if test.function_id not in left:
            raise Unsafe(f"no test of {test.function_id} is left")
    silent = {test.name for test in after.tests if not test.asserts}
    for test in before.tests:
        if test.asserts and test.name in silent:
            raise Unsafe(f"{test.name} no longer asserts anything")
    lost = undefined_names(after.source) - undefined_names(before.source)
    if lost:
        raise Unsafe(f"nothing defines {min(lost)}")


def undefined_names(source: str) -> set[str]:
    """The undefined names that a test file uses, including fixtures."""
    pieces = resolve(read_pieces(Part("", source, is_code=True)), {})
    fixtures = {
        name for piece in pieces.order if isinstance(piece.node, Function) and piece.takes_fixtures
        for name in piece.fixture_candidates - set(pieces.fixtures(piece))
    }  # fmt: skip
    return (pieces.unbound() - BUILTINS) | (fixtures - FIXTURES)
