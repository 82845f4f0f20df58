"""Splits one reply into pieces of a test file, and counts the parts that are dropped, by reason.

Imports, functions, classes, fixtures and names assigned once to a constant are kept. Other code that would run at
import, and code that would affect the tests of other replies, is dropped.
"""

import ast
import copy
from collections.abc import Collection, Mapping, Sequence

from swarmeval.extraction.syntax import parse
from swarmeval.testgen.imports import Import, bindings
from swarmeval.testgen.pieces import CodePiece, Part, ReplyPieces, digest
from swarmeval.testgen.replies import ReplyStatement, read
from swarmeval.testgen.scopes import FIXTURE_CALLS, Definition, Function, identifiers, parameters_of, parametrized, uses

# Functions that pytest or unittest call by name for all tests of a file.
OF_THE_FILE = {"setup_module", "teardown_module", "setup_function", "teardown_function", "setUpModule",
               "tearDownModule", "load_tests", "setup", "teardown"}  # fmt: skip


def read_pieces(part: Part) -> ReplyPieces:
    """Split a reply. `resolve` then binds its names, once all replies are known."""
    code = read(part.text, part.is_code)
    pieces = ReplyPieces(part.function_id, digest(part.text), broken=code.broken)
    for statement in code.statements:
        _add_statement(statement, part, pieces)
    pieces.from_prompt = {one.bound: one for text in part.prompt_imports for one in _imports(text)}
    return pieces


def resolve(pieces: ReplyPieces, shared: Mapping[str, Import], without: Collection[Import] = ()) -> ReplyPieces:
    """Bind the names that the pieces use, in place.

    An unbound name refers to an import shown in the prompt, to the reply's star import, or to `shared`, the imports of
    the other replies, in this order. Tests that need an import in `without` are dropped.
    """
    try:
        for piece in pieces.order:
            piece.uses = frozenset(uses(piece.node))
            piece.fixture_candidates = frozenset(_fixture_candidates(piece.node))
            pieces.identifiers |= identifiers(piece.node)
            ast.unparse(piece.node)  # raises RecursionError now rather than when the file is written
        _bind_names(pieces, shared)
        _limit_fixtures(pieces)
        _drop_broken(pieces, without)
        for piece in pieces.order:
            pieces.meaning(piece)
    except RecursionError:
        return ReplyPieces(pieces.function_id, dropped=pieces.dropped, broken=[*pieces.broken, "nested too deeply"])
    return pieces


def _add_statement(statement: ReplyStatement, part: Part, pieces: ReplyPieces) -> None:
    node = statement.node
    if isinstance(node, ast.ImportFrom) and (node.level or node.module == "__future__"):
        pieces.future |= any(alias.name == "annotations" for alias in node.names) and not node.level
        pieces.dropped["relative imports"] += node.level > 0
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for one in bindings(node):
            if one.name == "*":
                pieces.star_modules.append(one.module)
            else:
                pieces.names[one.bound] = one
                pieces.dotted += [one] if one.is_dotted else []
    elif isinstance(node, Definition):
        _add_definition(statement, node, part, pieces)
    elif isinstance(node, ast.Assign) and (name := _constant(node)):
        if name in pieces.names:
            pieces.dropped["statements"] += 1
        else:
            pieces.names[name] = piece = CodePiece(name, node, statement.text, is_test=False)
            pieces.order.append(piece)
    else:
        pieces.dropped["statements"] += 1


def _add_definition(statement: ReplyStatement, node: Definition, part: Part, pieces: ReplyPieces) -> None:
    if node.name in OF_THE_FILE or (node.name.startswith("__") and node.name.endswith("__")):
        pieces.dropped["functions for all tests of a file"] += 1
        return
    if node.name == part.subject:
        pieces.dropped["copies of the code under test"] += 1
        return
    fixture = _fixture(node)
    text = statement.text
    if fixture is not None and isinstance(node, Function) and _restore_name(node, fixture):
        text = ""
    piece = CodePiece(node.name, node, text, is_test(node), fixture is not None)
    before = pieces.names.get(node.name)
    if isinstance(before, CodePiece) and not before.is_test:
        pieces.order.remove(before)
        pieces.dropped["defined again"] += 1
    pieces.names[node.name] = piece
    pieces.order.append(piece)
    if piece.is_test:
        pieces.tests.append(piece)


def is_test(node: Definition) -> bool:
    """Whether a definition contains tests. A fixture does not, whatever its name."""
    return _fixture(node) is None and bool(tests_in(node))


def tests_in(node: ast.stmt) -> list[str]:
    """The names that pytest gives to the tests of a definition: "test_a", or "TestB::test_c" for each method."""
    if isinstance(node, Function):
        return [node.name] if node.name.startswith("test") else []
    if not isinstance(node, ast.ClassDef):
        return []
    is_case = any(ast.unparse(base).rpartition(".")[2].endswith("TestCase") for base in node.bases)
    if not (is_case or node.name.startswith("Test")):
        return []
    methods = [one.name for one in node.body if isinstance(one, Function) and one.name.startswith("test")]
    return [f"{node.name}::{name}" for name in dict.fromkeys(methods)]


def _constant(node: ast.Assign) -> str:
    """The name that a statement assigns a literal value to; "" for other statements."""
    target = node.targets[0]
    if len(node.targets) > 1 or not isinstance(target, ast.Name):
        return ""
    if target.id.startswith(("__", "pytest", "collect_ignore")):  # pytest reads these
        return ""
    try:
        ast.literal_eval(node.value)
    except (ValueError, TypeError, MemoryError, RecursionError, SyntaxError):
        return ""
    return target.id


def _fixture(node: Definition) -> ast.expr | None:
    """The decorator that makes a definition a fixture; None if there is none."""
    for decorator in node.decorator_list:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(named).rpartition(".")[2] in ("fixture", "yield_fixture"):
            return decorator
    return None


def _restore_name(node: Function, decorator: ast.expr) -> bool:
    """Rename a fixture to the `name` in its decorator; return whether it had one."""
    if not isinstance(decorator, ast.Call):
        return False
    for keyword in decorator.keywords:
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            name = keyword.value.value
            if isinstance(name, str) and name.isidentifier():
                node.name = name
                decorator.keywords.remove(keyword)
                return True
    return False


def _fixture_candidates(node: ast.stmt) -> set[str]:
    functions: Sequence[ast.AST] = node.body if isinstance(node, ast.ClassDef) else [node]
    names: set[str] = set()
    for one in functions:
        if isinstance(one, Function):
            names |= {parameter.arg for parameter in parameters_of(one)} - parametrized(one)
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in FIXTURE_CALLS:
            names |= {one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return names


def _bind_names(pieces: ReplyPieces, shared: Mapping[str, Import]) -> None:
    for name in sorted(pieces.unbound()):
        if name in pieces.from_prompt:
            pieces.names[name] = pieces.from_prompt[name]
        elif pieces.star_modules:
            pieces.names[name] = Import(pieces.star_modules[0], name, name)
        elif name in shared:
            pieces.names[name] = shared[name]


def _imports(text: str) -> list[Import]:
    return [one for node in parse(text).body if isinstance(node, ast.Import | ast.ImportFrom) for one in bindings(node)]


def _limit_fixtures(pieces: ReplyPieces) -> None:
    """Limit autouse fixtures to the tests of their own reply."""
    for piece in [piece for piece in pieces.order if piece.is_fixture]:
        assert isinstance(piece.node, Definition)
        decorator = _fixture(piece.node)
        if not isinstance(decorator, ast.Call):
            continue
        keywords = [one for one in decorator.keywords if one.arg != "autouse"]
        if len(keywords) == len(decorator.keywords):
            continue
        decorator.keywords = keywords
        piece.text = ""
        if not isinstance(decorator.func, ast.Attribute):
            pieces.dropped["fixtures for all tests of a file"] += 1
            continue
        for test in pieces.tests:
            mark = ast.Attribute(copy.deepcopy(decorator.func.value), "mark", ast.Load())
            call = ast.Call(ast.Attribute(mark, "usefixtures", ast.Load()), [ast.Constant(piece.name)], [])
            assert isinstance(test.node, Definition)
            test.node.decorator_list.insert(0, ast.fix_missing_locations(ast.copy_location(call, decorator)))
            test.text = ""
            test.uses |= frozenset(uses(decorator.func.value))
            test.fixture_candidates |= {piece.name}


def _drop_broken(pieces: ReplyPieces, without: Collection[Import]) -> None:
    for test in list(pieces.tests) if without else []:
        needed = [
            each
            for one in pieces.dependencies(test).values()
            if isinstance(one, Import)
            for each in pieces.imports_behind(one)
        ]
        if any(one in without for one in needed):
            pieces.tests.remove(test)
            pieces.order.remove(test)
            pieces.dropped["tests of what cannot be imported"] += 1
