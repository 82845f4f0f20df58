"""Rules for test modules: imports, private names, lengths of names, folders. Parses the code only."""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

LONGEST_NAME = 70
ATTRIBUTE_CALLS = {"getattr", "setattr", "hasattr", "delattr"}  # builtins, and setattr of monkeypatch
IN_TEXT = re.compile(r"[\w)\]]\.(_[a-z]\w*)")  # programs inside strings must follow the rules too
TEST_MODULE = re.compile(r"\b(?<!\.)tests(?:\.\w+)*(?:\.| import )test_\w+")
OTHER_FOLDERS = {"benchmarks", "faults", "house", "support"}  # not about one package


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def imports_of_tests(tree: ast.AST) -> list[str]:
    """Imports of test modules. Shared code belongs in tests.support."""
    names = [
        (line, name)
        for line, name in _imports(tree)
        if name.split(".")[0] == "tests" and not f"{name}.".startswith("tests.support.")
    ]
    names += [
        (line, name.replace(" import ", ".")) for line, text in _texts(tree) for name in TEST_MODULE.findall(text)
    ]
    return [f"{line} imports {name}; move what is shared into tests/support" for line, name in names]


def private_names(tree: ast.AST, allowed: Collection[str]) -> list[str]:
    """Uses of foreign private names. On `self` or `cls`, a class may use those defined by classes of its file."""
    own = _own(tree)
    return [
        f"{line} uses {name}; test what can be seen from outside, or make the name public"
        for line, name, of_self in _private(tree)
        if name not in allowed and not (of_self and name in own)
    ]


def long_names(tree: ast.AST) -> list[str]:
    return [
        f"{node.lineno} {node.name} has {len(node.name)} characters, more than {LONGEST_NAME}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test") and len(node.name) > LONGEST_NAME
    ]


def misplaced(path: Path, root: Path) -> list[str]:
    """Test modules in a folder that mirrors no package; `path` is relative to root / "tests"."""
    folder = path.parent
    if folder == Path() or folder.parts[0] in OTHER_FOLDERS or (root / "swarmeval" / folder / "__init__.py").is_file():
        return []
    return [f"tests/{path} mirrors no package: there is no swarmeval/{folder}"]


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, full name) of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def _private(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """(line, name, whether on `self` or `cls`) of every private name that is used as an attribute or imported."""
    for line, name in _imports(tree):
        yield from ((line, part, False) for part in name.split(".") if is_private(part))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.lineno, node.attr, isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        elif isinstance(node, ast.Call) and _called(node.func) in ATTRIBUTE_CALLS:
            texts = (text.value for text in node.args if isinstance(text, ast.Constant) and isinstance(text.value, str))
            yield from ((node.lineno, text, False) for text in texts if is_private(text))
    yield from ((line, name, False) for line, text in _texts(tree) for name in IN_TEXT.findall(text))


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _own(tree: ast.AST) -> set[str]:
    """Private names defined by a file's classes: methods, fields, and attributes assigned to `self`."""
    made = set()
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in ast.walk(cls):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                made.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                made.add(node.attr)
    return made
