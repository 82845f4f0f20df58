"""Finds the middle of a function in a reply, where code stands before and after it. Adds at most a newline."""

from collections.abc import Iterator

from swarmeval.extraction.regions import regions
from swarmeval.extraction.syntax import BudgetedParser, indent_of, shift
from swarmeval.extraction.text_fixes import normal_ends, unescaped, visible
from swarmeval.extraction.thoughts import without_thoughts
from swarmeval.extraction.windows import READ_CHARS


def middle(text: str, prompt: str, ending: str) -> tuple[str, str]:
    """(the middle, how it was found). A reply without a fence is the middle, as a model for infilling gives it.

    Lines of the code before and after that a fenced answer repeats are removed. If the answer parses nowhere, its
    last block is returned unchanged.
    """
    reply = without_thoughts(normal_ends(text))[-READ_CHARS:]
    parser = BudgetedParser()
    fenced = [unescaped(block.text) for block in regions(visible(reply)) if block.fenced]
    if not fenced:
        return text, "as given"
    for block in reversed(fenced):
        for variant in variants(block, prompt, ending):
            try:
                parser.parse(prompt + variant + ending)
            except SyntaxError:
                continue
            return variant, "fence"
    return next(variants(fenced[-1], prompt, ending)), "fence"


def variants(block: str, prompt: str, ending: str) -> Iterator[str]:
    """Ways to place a block between two texts: without repeated lines, indented like the line before or after."""
    lines = between(block.split("\n"), prompt.split("\n"), ending.split("\n"))
    newline = "" if ending.startswith("\n") or not prompt.endswith("\n") else "\n"
    yield "\n".join(lines) + newline
    above = [line for line in prompt.split("\n") if line.strip()]
    below = [line for line in ending.split("\n") if line.strip()]
    depth = indent_of(above[-1]) if above else 0
    for indent in (depth, depth + 4, indent_of(below[0]) if below else depth):
        yield "\n".join(shift(lines, indent)) + newline
    yield block + newline


def between(lines: list[str], above: list[str], below: list[str]) -> list[str]:
    """The lines without those at their start that end the text above, and those at their end that start the one below.

    Blank lines and trailing spaces are ignored in the comparison.
    """
    start = repeated([line.rstrip() for line in lines], [line.rstrip() for line in above])
    rest = lines[start:]
    end = repeated([line.rstrip() for line in reversed(rest)], [line.rstrip() for line in reversed(below)])
    return rest[: len(rest) - end]


def repeated(lines: list[str], above: list[str]) -> int:
    """Number of lines at the start of `lines` that repeat the end of `above`."""
    written = [(number, line) for number, line in enumerate(lines, 1) if line]
    last = [line for line in above if line]
    for count in range(min(len(written), len(last)), 0, -1):
        if [line for _, line in written[:count]] == last[-count:]:
            return written[count - 1][0]
    return 0
