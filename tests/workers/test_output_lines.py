"""A worker's output arrives as whole lines, and secrets are hidden however the output is split."""

import asyncio
from collections.abc import Iterator

import pytest

from swarmeval import secrets
from swarmeval.workers.output_lines import MAX_LINE, printed_lines

SECRET = "hf-planted-" + "A1b2" * 8


@pytest.fixture(autouse=True)
def told() -> Iterator[None]:
    """Register a secret, and forget it afterwards."""
    secrets.register(SECRET)
    yield
    secrets.registered.discard(SECRET)


def lines_of(*pieces: bytes) -> list[str]:
    async def read() -> list[str]:
        stream = asyncio.StreamReader()
        found = []

        async def feed() -> None:
            for piece in pieces:
                stream.feed_data(piece)
                await asyncio.sleep(0)  # so that each piece is read separately
                await asyncio.sleep(0)
            stream.feed_eof()

        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            found += [line async for line in printed_lines(stream)]
        return found

    return asyncio.run(read())


@pytest.mark.parametrize("cut", range(0, len(SECRET) + 20, 3))
def test_a_secret_is_hidden_wherever_the_output_is_cut(cut: int) -> None:
    said = f"token: {SECRET} é\n  at x".encode()
    assert lines_of(said[:cut], said[cut:]) == ["token: *** é", "  at x"]


def test_lines_are_whole_and_empty_ones_are_left_out() -> None:
    assert lines_of(b"a\n\n  \n 10 %\r 20 %\r\nb", b"c") == ["a", " 10 %", " 20 %", "bc"]


def test_an_endless_line_is_not_awaited() -> None:
    piece = b"x" * (1 << 16)
    assert sum(map(len, lines_of(*[piece] * 40))) == 40 * len(piece)
    assert max(map(len, lines_of(*[piece] * 40))) <= MAX_LINE + len(piece)
