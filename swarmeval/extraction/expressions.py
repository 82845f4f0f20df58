"""Extracts one Python expression from a reply, for tasks such as CRUXEval's. Evaluates nothing.

The expression must be a literal or, if the task's prompt defines the function `f`, a call of `f` with harmless
arguments. Other code could replace the function that is asked about, or leave the predicting to the program.
"""

import ast
import re
from collections.abc import Collection, Iterator

from swarmeval.extraction.regions import regions
from swarmeval.extraction.syntax import describe, parse
from swarmeval.extraction.text_fixes import normal_ends, visible
from swarmeval.extraction.thoughts import without_thoughts
from swarmeval.records import Candidate, Outcome, Task

CALLED = "f"  # the name of the function in every CRUXEval task
READ_CHARS = 20_000  # of the end of a reply
READ_LINE = 2_000
OPENING, CLOSING = "[ANSWER]", "[/ANSWER]"
TAGGED_MOST = 8  # answers in tags that are tried
SAID = re.compile(r".*(?:: |=> |-> |\b(?:is|be|returns?) )(?P<value>.+?)\.?$")  # "The output is 5."
ASSERT = re.compile(r"^[ \t]*assert\b.*", re.MULTILINE)

LITERALS = (ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.unaryop, ast.expr_context)
# What the arguments in CRUXEval's data contain beside literals, and the like.
COMPUTED = (
    ast.BinOp, ast.operator, ast.BoolOp, ast.boolop, ast.Compare, ast.cmpop, ast.IfExp, ast.Call, ast.keyword,
    ast.Attribute, ast.Subscript, ast.Slice, ast.Lambda, ast.arguments, ast.arg, ast.ListComp, ast.SetComp,
    ast.DictComp, ast.comprehension, ast.Name, ast.Starred,
)  # fmt: skip
BUILTINS = frozenset({
    "abs", "bool", "bytes", "chr", "dict", "divmod", "enumerate", "filter", "float", "frozenset", "int", "len", "list",
    "map", "max", "min", "ord", "range", "repr", "reversed", "round", "set", "sorted", "str", "sum", "tuple", "zip",
})  # fmt: skip
METHODS = frozenset(
    name for kind in (str, bytes, list, tuple, dict, set, int, float) for name in dir(kind) if not name.startswith("_")
)


def expression(text: str, task: Task) -> Candidate:
    """The expression that a text answers with; BAD_SYNTAX if it has none of the kind that the task needs."""
    reply = visible(without_thoughts(normal_ends(text)[-READ_CHARS:]))
    given = assigned_names(task.prompt)
    called = CALLED in given
    first = ""
    for note, source in snippets(reply):
        if note != "line" or syntax_error(source) is None:
            first = first or source
        found = answer_in(source, called, given)
        if found is not None:
            return Candidate(found, note=note)
    if not first:
        return Candidate("", "no code in the reply", Outcome.EMPTY)
    needed = f"a call of {CALLED} with plain arguments" if called else "a literal"
    return Candidate(first, syntax_error(first) or f"the answer is not {needed}", Outcome.BAD_SYNTAX)


def snippets(reply: str) -> Iterator[tuple[str, str]]:
    """The parts of a reply that may be the answer, most likely first, and how each was found."""
    for part in tagged(reply):
        yield "tags", part
    blocks = regions(reply)
    fenced = [block.text.strip() for block in blocks if block.fenced]
    yield from (("assertion", match.group().strip()) for match in reversed(list(ASSERT.finditer(reply))[-TAGGED_MOST:]))
    for text in reversed(fenced[-TAGGED_MOST:]):
        yield "fence", text
        yield "fence", text.rpartition("\n")[2].strip()
    if fenced:
        return
    yield "line", reply.strip()
    lines = [line.strip() for line in reply.split("\n") if line.strip()]
    for line in [*lines[:-3:-1], *lines[:1]]:
        if line.count("`") > 1:
            yield "line", line.partition("`")[2].rpartition("`")[0]
        said = SAID.match(line[:READ_LINE])
        yield "line", said["value"] if said else line


def tagged(reply: str) -> Iterator[str]:
    """The texts in answer tags. A prompt may have opened the first tag, and the reply may lack the last closing one."""
    before, closing, _ = reply.partition(CLOSING)
    if closing and OPENING not in before:
        yield before.strip()
    for part in reply.split(OPENING, TAGGED_MOST)[1:]:
        yield part.partition(CLOSING)[0].strip()


def answer_in(source: str, called: bool, given: Collection[str]) -> str | None:
    """The expression of the needed kind in a snippet, which may be a whole assertion; None if there is none."""
    text = source.strip("` \t\n").removeprefix("==").strip()  # a prompt may end before or after the equals sign
    try:
        body = parse(text).body
    except SyntaxError:
        return None
    try:
        fitting = (node for node in sides(body, called) if (is_call(node, given) if called else is_literal(node)))
        return next(map(ast.unparse, fitting), None)
    except (RecursionError, ValueError):  # nested too deeply, or an integer with too many digits
        return None


def sides(body: list[ast.stmt], called: bool) -> Iterator[ast.expr]:
    """The expression of the only statement, or both sides of an equation, the right one first.

    An assertion without an equation names an input, if its expression is `called`, but no output.
    """
    match body:
        case [
            ast.Expr(value=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]))
            | ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]))
        ]:
            yield from (right, left)
        case [ast.Expr(value=value)]:
            yield value
        case [ast.Assert(test=value)] if called:
            yield value


def is_literal(node: ast.expr) -> bool:
    """Whether an expression is a literal: constants, containers of them, signs, complex numbers, `set()`."""
    match node:
        case ast.Call(func=ast.Name(id="set" | "frozenset" | "bytearray"), args=[], keywords=[]):
            return True
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=ast.Constant(value=complex())):
            return is_literal(left)
        case ast.UnaryOp(op=ast.Not()):
            return False
        case ast.Dict(keys=keys, values=values):
            return all(key is not None and is_literal(key) for key in keys) and all(map(is_literal, values))
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return all(map(is_literal, parts))
        case ast.UnaryOp(operand=operand):
            return is_literal(operand)
        case _:
            return isinstance(node, ast.Constant)


def is_call(node: ast.expr, given: Collection[str]) -> bool:
    """Whether an expression calls `f` with arguments that cannot reach or replace it.

    Arguments may use operators, lambdas, harmless builtins, methods of built-in types, and `given` names of the
    task's own code. The function itself, other names and other attributes are refused.
    """
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == CALLED):
        return False
    inner = [part for argument in (*node.args, *node.keywords) for part in ast.walk(argument)]
    bound = {part.arg for part in inner if isinstance(part, ast.arg)}
    bound |= {part.id for part in inner if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    names = (BUILTINS | bound | set(given)) - {CALLED}
    return all(
        isinstance(part, (*LITERALS, *COMPUTED))
        and (not isinstance(part, ast.Name) or part.id in names)
        and (not isinstance(part, ast.Attribute) or part.attr in METHODS)
        for part in inner
    )


def assigned_names(prompt: str) -> set[str]:
    """Names that the prompt's complete statements assign at the top level, and the functions it defines."""
    source = prompt.rpartition("\ndef ")[0]
    try:
        body = parse(source).body
    except SyntaxError:
        return set()
    names = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    targets = (target for node in body if isinstance(node, ast.Assign) for target in node.targets)
    return names | {target.id for target in targets if isinstance(target, ast.Name)}


def syntax_error(source: str) -> str | None:
    try:
        parse(source)
    except SyntaxError as error:
        return describe(error)
    return None
