"""Reads one reply into pieces: what is kept of it, what is dropped, and why.

Kept are imports, functions, classes, fixtures, and names given a constant once; whatever else would run when the file
is imported is dropped and counted, and so is what would change the tests of others.
"""

import ast
import copy
from collections.abc import Collection, Mapping, Sequence

from swarmeval.extraction.syntax import parse
from swarmeval.testgen.imports import Import, bindings
from swarmeval.testgen.pieces import Part, Piece, Pieces, digest
from swarmeval.testgen.replies import Statement, read
from swarmeval.testgen.scopes import ASKING, Definition, Function, identifiers, parameters_of, parametrized, uses

# Called by pytest or unittest by their names, for all tests of a file.
OF_THE_FILE = {"setup_module", "teardown_module", "setup_function", "teardown_function", "setUpModule",
               "tearDownModule", "load_tests", "setup", "teardown"}  # fmt: skip


def taken(part: Part) -> Pieces:
    """What a reply holds, before it is known what others hold: see `finished`."""
    read_ = read(part.text, part.is_code)
    found = Pieces(part.function_id, digest(part.text), broken=read_.broken)
    for statement in read_.statements:
        _take(statement, part, found)
    found.shown = {one.bound: one for text in part.given for one in _imports(text)}
    return found


def finished(found: Pieces, shared: Mapping[str, Import], without: Collection[Import] = ()) -> Pieces:
    """The same with all that its names mean. A name that nobody binds means what the prompt showed, or what its star
    import brings, or what `shared`, the imports of the others, say. Tests that need an import of `without` are dropped.
    """
    try:
        for piece in found.order:
            piece.uses = frozenset(uses(piece.node))
            piece.wishes = frozenset(_wishes(piece.node))
            found.identifiers |= identifiers(piece.node)
            ast.unparse(piece.node)  # what cannot be written is found now
        _give(found, shared)
        _share_no_fixture(found)
        _drop_broken(found, without)
        for piece in found.order:
            found.meaning(piece)
    except RecursionError:
        return Pieces(found.function_id, dropped=found.dropped, broken=[*found.broken, "nested too deeply"])
    return found


def _take(statement: Statement, part: Part, found: Pieces) -> None:
    node = statement.node
    if isinstance(node, ast.ImportFrom) and (node.level or node.module == "__future__"):
        found.future |= any(alias.name == "annotations" for alias in node.names) and not node.level
        found.dropped["relative imports"] += node.level > 0
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for one in bindings(node):
            if one.name == "*":
                found.stars.append(one.module)
            else:
                found.names[one.bound] = one
                found.dotted += [one] if one.is_dotted else []
    elif isinstance(node, Definition):
        _define(statement, node, part, found)
    elif isinstance(node, ast.Assign) and (name := _constant(node)):
        if name in found.names:
            found.dropped["statements"] += 1
        else:
            found.names[name] = piece = Piece(name, node, statement.text, is_test=False)
            found.order.append(piece)
    else:
        found.dropped["statements"] += 1


def _define(statement: Statement, node: Definition, part: Part, found: Pieces) -> None:
    if node.name in OF_THE_FILE or (node.name.startswith("__") and node.name.endswith("__")):
        found.dropped["functions for all tests of a file"] += 1
        return
    if node.name == part.subject:
        found.dropped["copies of the code under test"] += 1
        return
    fixture = _fixture(node)
    text = statement.text
    if fixture is not None and isinstance(node, Function) and _plain(node, fixture):
        text = ""
    piece = Piece(node.name, node, text, is_test(node), fixture is not None)
    before = found.names.get(node.name)
    if isinstance(before, Piece) and not before.is_test:
        found.order.remove(before)
        found.dropped["defined again"] += 1
    found.names[node.name] = piece
    found.order.append(piece)
    if piece.is_test:
        found.tests.append(piece)


def is_test(node: Definition) -> bool:
    """Whether it holds tests. A fixture is none, whatever it is called."""
    return _fixture(node) is None and bool(tests_in(node))


def tests_in(node: ast.stmt) -> list[str]:
    """The names by which pytest calls the tests of a definition: "test_a", or "TestB::test_c" of each method."""
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
    """The name that is given a value which needs no computing; "" where the statement is anything else."""
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
    """The decorator that makes a fixture of it."""
    for decorator in node.decorator_list:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(named).rpartition(".")[2] in ("fixture", "yield_fixture"):
            return decorator
    return None


def _plain(node: Function, decorator: ast.expr) -> bool:
    """Give a fixture the name that it is asked for by; whether that changed anything."""
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


def _wishes(node: ast.stmt) -> set[str]:
    functions: Sequence[ast.AST] = node.body if isinstance(node, ast.ClassDef) else [node]
    found: set[str] = set()
    for one in functions:
        if isinstance(one, Function):
            found |= {parameter.arg for parameter in parameters_of(one)} - parametrized(one)
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in ASKING:
            found |= {one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return found


def _give(found: Pieces, shared: Mapping[str, Import]) -> None:
    for name in sorted(found.unbound()):
        if name in found.shown:
            found.names[name] = found.shown[name]
        elif found.stars:
            found.names[name] = Import(found.stars[0], name, name)
        elif name in shared:
            found.names[name] = shared[name]


def _imports(text: str) -> list[Import]:
    return [one for node in parse(text).body if isinstance(node, ast.Import | ast.ImportFrom) for one in bindings(node)]


def _share_no_fixture(found: Pieces) -> None:
    """A fixture for every test of a file becomes one for every test of its reply."""
    for piece in [piece for piece in found.order if piece.is_fixture]:
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
            found.dropped["fixtures for all tests of a file"] += 1
            continue
        for test in found.tests:
            mark = ast.Attribute(copy.deepcopy(decorator.func.value), "mark", ast.Load())
            call = ast.Call(ast.Attribute(mark, "usefixtures", ast.Load()), [ast.Constant(piece.name)], [])
            assert isinstance(test.node, Definition)
            test.node.decorator_list.insert(0, ast.fix_missing_locations(ast.copy_location(call, decorator)))
            test.text = ""
            test.uses |= frozenset(uses(decorator.func.value))
            test.wishes |= {piece.name}


def _drop_broken(found: Pieces, without: Collection[Import]) -> None:
    for test in list(found.tests) if without else []:
        needed = [each for one in found.reach(test).values() if isinstance(one, Import) for each in found.needs(one)]
        if any(one in without for one in needed):
            found.tests.remove(test)
            found.order.remove(test)
            found.dropped["tests of what cannot be imported"] += 1
