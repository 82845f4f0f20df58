"""Reads and writes generated_tests.jsonl: one line per module, with the tests kept from its replies.

The test files are in a folder beside it. Both are evaluated later.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from swarmeval.errors import DataError, OutputError
from swarmeval.files import cannot_write, replaced
from swarmeval.secrets import scrub
from swarmeval.testgen.combine import Combined, CombinedTest
from swarmeval.testgen.files import WrittenModule

NAME = "generated_tests.jsonl"
FOLDER = "generated_tests"
NOT_REQUESTED = "not requested: the load ended first"
TAKEN = "taken"


class IndexLine(msgspec.Struct, frozen=True):
    """The line of one module."""

    level: str  # load level in which its functions were requested
    module: str
    package: str
    source: str  # path of the module
    file: str | None  # test file, relative to the run folder; None if no test was kept
    tests: tuple[CombinedTest, ...]
    requested: tuple[str, ...] = msgspec.field(name="asked")  # function ids
    dropped: dict[str, int]  # parts left out of replies, counted by reason
    faults: dict[str, str]  # function id -> reason why nothing of its reply was kept
    failed: dict[str, str]  # function id -> reason why it got no reply
    tidied: str = ""  # clean-up by the model: TAKEN, the reason against, or "" if not attempted


def folder(run: Path, round_: int) -> Path:
    """Folder of the test files of a round. A new round starts when all modules have been requested."""
    return run / (FOLDER if not round_ else f"{FOLDER}.{round_ + 1}")


def line(run: Path, level: str, written: WrittenModule) -> IndexLine:
    module, combined = written.module, written.combined
    failed = {name: scrub(why) for name, why in written.failed.items() if why != NOT_REQUESTED}
    left_out = set(written.failed) - set(failed)
    return IndexLine(
        level, module.name, module.file.package, str(module.file.path),
        None if written.path is None else str(written.path.relative_to(run)), combined.tests,
        tuple(one.function_id for one in module.functions if one.function_id not in left_out),
        dict(combined.dropped), dict(combined.faults), failed,
    )  # fmt: skip


def append(run: Path, one: IndexLine) -> None:
    """Append a line. Raises OutputError."""
    try:
        with (run / NAME).open("ab") as file:
            file.write(msgspec.json.encode(one) + b"\n")
    except OSError as error:
        raise cannot_write(run / NAME, error) from None


def read(run: Path) -> Iterator[IndexLine]:
    """Yield the lines; nothing if the file does not exist. Raises DataError or OutputError if it cannot be read."""
    try:
        with (run / NAME).open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    yield msgspec.json.decode(text, type=IndexLine)
                except msgspec.MsgspecError as error:
                    raise DataError(f"{run / NAME}: line {number} is not valid ({error})") from None
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{run / NAME}: cannot be read ({error.strerror})") from None


def combined(run: Path, one: IndexLine) -> Combined:
    """Read back a combined test file, without its first line. Raises OutputError if the file is missing."""
    if one.file is None:
        return Combined("", (), one.dropped, one.faults)
    return Combined(_read(run / one.file).partition("\n")[2], one.tests, one.dropped, one.faults)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from None


def replace_tests(run: Path, one: IndexLine, tidied: Combined) -> IndexLine:
    """Replace a test file by its tidied version, keeping the first line; return the updated index line.

    Raises OutputError, in which case the old file is unchanged.
    """
    assert one.file is not None
    path = run / one.file
    first = _read(path).partition("\n")[0]
    with replaced(path) as file:
        file.write(f"{first}\n{tidied.source}")
    dropped = dict(Counter(one.dropped) + Counter(tidied.dropped))
    return msgspec.structs.replace(one, tests=tidied.tests, dropped=dropped, tidied=TAKEN)


@contextmanager
def rewrite(run: Path) -> Iterator[Callable[[IndexLine], None]]:
    """Yield a function that takes new lines. They replace the file if the block ends without error.

    Raises OutputError.
    """
    with replaced(run / NAME) as file:

        def take(one: IndexLine) -> None:
            file.write(f"{msgspec.json.encode(one).decode()}\n")

        yield take
