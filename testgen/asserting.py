"""Whether a test could fail by what it finds: it asserts something, itself or through a function of its file.

Reads syntax only: that an assertion says anything worth knowing is not claimed, but one of constants is none.
"""

import ast
from collections.abc import Mapping

EXPECTS = {"raises", "warns", "deprecated_call", "fail", "xfail"}  # of pytest


def asserts(node: ast.AST, defined: Mapping[str, ast.AST], methods: Mapping[str, ast.AST]) -> bool:
    """Of a test. `defined` are the functions and classes of its file, `methods` those of its class."""
    waiting, seen = [node], {id(node)}
    while waiting:
        for one in ast.walk(waiting.pop()):
            if _asserts(one):
                return True
            known = _known(one, defined, methods)
            if known is not None and id(known) not in seen:
                seen.add(id(known))
                waiting.append(known)
    return False


def _known(node: ast.AST, defined: Mapping[str, ast.AST], methods: Mapping[str, ast.AST]) -> ast.AST | None:
    """The definition that a name means, if it is one of these. A parameter may name a fixture."""
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
