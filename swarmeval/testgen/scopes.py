"""Finds the module-level names that a piece of Python uses, and renames them. Knows nothing about tests.

Scopes follow the language reference, section 4.2, with one exception: a name that a class body binds is treated as
local to the class in the whole body, even before the binding.
"""

import ast
import copy
from collections.abc import Callable, Mapping
from typing import TypeVar

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
FIXTURE_CALLS = ("usefixtures", "getfixturevalue")  # their arguments are names of fixtures
AnyNode = TypeVar("AnyNode", bound=ast.AST)
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def uses(node: ast.AST) -> set[str]:
    """The module-level names that a statement uses, including builtins."""
    every = {name: name for name in identifiers(node)}
    renamer = Renamer(every, {})
    renamer.visit(copy.deepcopy(node))
    return renamer.seen


def renamed(node: AnyNode, names: Mapping[str, str], parameters: Mapping[str, str] | None = None) -> AnyNode:
    """A copy in which module-level names are replaced: that of the definition itself, and all uses.

    `parameters` maps names of fixtures, and renames such parameters of outermost functions and methods. New names must
    not be among the node's identifiers. Raises RecursionError for deeply nested code.
    """
    result: AnyNode = Renamer(names, parameters or {}).visit(copy.deepcopy(node))
    return result


def identifiers(node: ast.AST) -> set[str]:
    """All names in a node, in any scope, except attributes and keyword arguments."""
    names: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            names.add(one.id)
        elif isinstance(one, ast.arg):
            names.add(one.arg)
        elif isinstance(one, ast.Global | ast.Nonlocal):
            names.update(one.names)
        elif isinstance(one, Definition):
            names.add(one.name)
        elif isinstance(one, ast.alias):
            names.add((one.asname or one.name).partition(".")[0])
        elif isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
            names.add(one.name)
        elif isinstance(one, ast.MatchMapping) and one.rest:
            names.add(one.rest)
    return names


def parameters_of(node: Function | ast.Lambda) -> list[ast.arg]:
    every = node.args
    extra = [one for one in (every.vararg, every.kwarg) if one is not None]
    return [*every.posonlyargs, *every.args, *every.kwonlyargs, *extra]


class Bound(ast.NodeVisitor):
    """The names that one scope binds, and those that it declares global."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self.names: set[str] = set()
        self.module_names: set[str] = set()
        self._nonlocals: set[str] = set()
        for statement in body:
            self.visit(statement)
        self.names -= self.module_names | self._nonlocals

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.names.add(node.id)

    def visit_Global(self, node: ast.Global) -> None:
        self.module_names.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._nonlocals.update(node.names)

    def visit_alias(self, node: ast.alias) -> None:
        self.names.add((node.asname or node.name).partition(".")[0])

    def _named(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self.names.add(node.name)
        self.generic_visit(node)

    visit_ExceptHandler = visit_MatchAs = visit_MatchStar = _named  # noqa: N815

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.names.add(node.rest)
        self.generic_visit(node)

    def _defined(self, node: Definition) -> None:
        self.names.add(node.name)
        for expression in node.decorator_list:
            self.visit(expression)
        if isinstance(node, ast.ClassDef):
            for expression in [*node.bases, *(keyword.value for keyword in node.keywords)]:
                self.visit(expression)
        else:
            self.visit(node.args)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _defined  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)

    def _comprehended(self, node: Comprehension) -> None:
        """Names bound in a comprehension are local to it, except those bound by `:=`."""
        for one in ast.walk(node):
            if isinstance(one, ast.NamedExpr):
                self.names.add(one.target.id)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehended  # noqa: N815


class Renamer(ast.NodeTransformer):
    """Renames module-level names in all scopes that refer to them."""

    def __init__(self, names: Mapping[str, str], parameters: Mapping[str, str]) -> None:
        self.seen: set[str] = set()  # module-level names used, without those of the definitions themselves
        self._root = dict(names)
        self._scope = dict(names)  # in the current scope
        self._inner = dict(names)  # in functions defined here, which do not see the names of a class
        self._parameters = parameters
        self._depth = 0  # nesting depth of functions

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._scope:
            self.seen.add(node.id)
            node.id = self._scope[node.id]
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        self.seen.update(name for name in node.names if name in self._root)
        node.names = [self._root.get(name, name) for name in node.names]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Rename fixtures that are named in strings."""
        asks = isinstance(node.func, ast.Attribute) and node.func.attr in FIXTURE_CALLS
        for argument in node.args if asks else []:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                argument.value = self._parameters.get(argument.value, argument.value)
        return self.generic_visit(node)

    def _function(self, node: Function) -> ast.AST:
        node.decorator_list = [self.visit(one) for one in node.decorator_list]
        if node.returns is not None:
            node.returns = self.visit(node.returns)
        self._arguments(node.args)
        fixtures = self._fixtures_of(node)
        node.name = self._scope.get(node.name, node.name)
        bound = Bound(node.body)
        for parameter in parameters_of(node):
            bound.names.add(parameter.arg)
            parameter.arg = fixtures.get(parameter.arg, parameter.arg)
        bound.names.update(parameter.name for parameter in getattr(node, "type_params", []))
        inner = {name: new for name, new in self._inner.items() if name not in bound.names}
        inner |= {name: self._root[name] for name in bound.module_names if name in self._root}
        self._in_scope(inner | fixtures, lambda: self._body(node))
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._arguments(node.args)
        own = {parameter.arg for parameter in parameters_of(node)}
        own |= {one.target.id for one in ast.walk(node.body) if isinstance(one, ast.NamedExpr)}
        inner = {name: new for name, new in self._inner.items() if name not in own}

        def body() -> None:
            node.body = self.visit(node.body)

        self._in_scope(inner, body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = [self.visit(one) for one in node.decorator_list]
        node.bases = [self.visit(one) for one in node.bases]
        node.keywords = [self.visit(one) for one in node.keywords]
        node.name = self._scope.get(node.name, node.name)
        own = Bound(node.body).names
        before = self._scope
        self._scope = {name: new for name, new in self._inner.items() if name not in own}
        self._body(node)
        self._scope = before
        return node

    def _comprehension(self, node: Comprehension) -> ast.AST:
        first = node.generators[0]
        first.iter = self.visit(first.iter)  # evaluated in the enclosing scope
        own = {
            one.id
            for part in node.generators
            for one in ast.walk(part.target)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }
        before, self._scope = self._scope, {n: new for n, new in self._scope.items() if n not in own}
        inner, self._inner = self._inner, {n: new for n, new in self._inner.items() if n not in own}
        taken, first.iter = first.iter, ast.Constant(None)
        self.generic_visit(node)
        first.iter = taken
        self._scope, self._inner = before, inner
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    def _named(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar) -> ast.AST:
        if node.name:
            node.name = self._scope.get(node.name, node.name)
        return self.generic_visit(node)

    visit_ExceptHandler = visit_MatchAs = visit_MatchStar = _named  # noqa: N815

    def visit_alias(self, node: ast.alias) -> ast.AST:
        """Rename an import inside a function that declares its name global."""
        name = (node.asname or node.name).partition(".")[0]
        if self._scope.get(name, name) != name and "." not in node.name:
            node.asname = self._scope[name]
        return node

    def _arguments(self, node: ast.arguments) -> None:
        """Visit defaults and annotations, which belong to the enclosing scope."""
        self.generic_visit(node)

    def _fixtures_of(self, node: Function) -> dict[str, str]:
        if self._depth or not self._parameters:
            return {}
        own = {parameter.arg for parameter in parameters_of(node)} - parametrized(node)
        return {name: self._parameters[name] for name in own if name in self._parameters}

    def _in_scope(self, names: dict[str, str], visit: Callable[[], None]) -> None:
        scope, inner = self._scope, self._inner
        self._scope = self._inner = names
        self._depth += 1
        visit()
        self._depth -= 1
        self._scope, self._inner = scope, inner

    def _body(self, node: Definition) -> None:
        node.body = [self.visit(statement) for statement in node.body]


def parametrized(node: Function) -> set[str]:
    """The parameters that pytest.mark.parametrize sets, which are not fixtures."""
    names: set[str] = set()
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "parametrize":
            values = [*mark.args, *(one.value for one in mark.keywords if one.arg == "argnames")]
            for part in ast.walk(values[0]) if values else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    names.update(name.strip() for name in part.value.split(","))
    return names
