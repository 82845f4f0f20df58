"""generated_tests.jsonl: a line for each module whose functions had their turn; what was kept of the replies and why.

The test files themselves lie beside it. What they are worth is found out from both, later.
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
NOT_REQUESTED = "not asked: the load ended before"
TAKEN = "taken"


class IndexLine(msgspec.Struct, frozen=True):
    """One module."""

    level: str  # of load, in which its functions were asked for
    module: str
    package: str
    source: str  # the path of its code
    file: str | None  # of its tests, within the run folder; None where no test was kept
    tests: tuple[CombinedTest, ...]
    requested: tuple[str, ...] = msgspec.field(name="asked")  # function ids
    dropped: dict[str, int]  # what was left out of replies, by reason
    faults: dict[str, str]  # function id -> why nothing was kept of its reply
    failed: dict[str, str]  # function id -> why it got no reply
    tidied: str = ""  # by the model itself: TAKEN, why not, or "" where it was not to be


def folder(run: Path, round_: int) -> Path:
    """Where the test files of a round lie: each module is asked for again when all have been."""
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
    """Raises OutputError."""
    try:
        with (run / NAME).open("ab") as file:
            file.write(msgspec.json.encode(one) + b"\n")
    except OSError as error:
        raise cannot_write(run / NAME, error) from None


def read(run: Path) -> Iterator[IndexLine]:
    """One at a time; none where there is no file. Raises DataError or OutputError where it cannot be read."""
    try:
        with (run / NAME).open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    yield msgspec.json.decode(text, type=IndexLine)
                except msgspec.MsgspecError as error:
                    raise DataError(f"{run / NAME}: line {number} is none of ours ({error})") from None
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{run / NAME}: cannot be read ({error.strerror})") from None


def combined(run: Path, one: IndexLine) -> Combined:
    """What was written, as it was combined: a test file but for its first line. Raises OutputError where it is gone."""
    if one.file is None:
        return Combined("", (), one.dropped, one.faults)
    return Combined(_read(run / one.file).partition("\n")[2], one.tests, one.dropped, one.faults)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from None


def replace_tests(run: Path, one: IndexLine, tidied: Combined) -> IndexLine:
    """Put a tidied test file in the place of one that was written, under the same first line; the line to note of it.

    Raises OutputError, the old file left as it was.
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
    """What takes the lines of a file that takes the place of this one when the block ends well. Raises OutputError."""
    with replaced(run / NAME) as file:

        def take(one: IndexLine) -> None:
            file.write(f"{msgspec.json.encode(one).decode()}\n")

        yield take
