"""The order of work: every function once, then again, module by module, without keeping modules in memory."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from swarmeval.errors import DataError
from swarmeval.testgen.packages import Skips
from swarmeval.testgen.sources import Module, modules
from swarmeval.testgen.workload import WorkItem, Workload, first_functions
from tests.support.made_up_package import package


def two_modules(tmp_path: Path) -> list[Module]:
    path = package(tmp_path, {"one.py": "def f(): return 1\ndef g(): return 2", "two.py": "def h(): return 3"})
    return list(modules([path], Skips()))


def turns(given_modules: list[Module], count: int, cut_behind: tuple[int, ...] = ()) -> list[WorkItem]:
    async def go() -> list[WorkItem]:
        kept = []
        async with Workload(lambda: given_modules, ahead=2) as workload:
            for number in range(count):
                kept.append(await workload.next())
                if number in cut_behind:
                    workload.skip_rest_of_module()
        return kept

    return asyncio.run(go())


def test_functions_come_in_order_and_start_over_after_the_last(tmp_path: Path) -> None:
    items = turns(two_modules(tmp_path), 5)
    assert [turn.context.function_id for turn in items] == [
        "made.one:f", "made.one:g", "made.two:h", "made.one:f", "made.one:g",
    ]  # fmt: skip
    assert [turn.round for turn in items] == [0, 0, 0, 1, 1]
    assert [turn.is_first for turn in items] == [True, False, True, True, False]


def test_behind_a_cut_another_module_begins(tmp_path: Path) -> None:
    items = turns(two_modules(tmp_path), 5, cut_behind=(0, 1))
    assert [turn.context.qualname for turn in items] == ["f", "h", "f", "g", "h"]
    assert [turn.is_first for turn in items] == [True, True, True, False, True]


def test_a_cut_before_the_first_turn_leaves_nothing_out(tmp_path: Path) -> None:
    async def go() -> WorkItem:
        async with Workload(lambda: two_modules(tmp_path)) as workload:
            workload.skip_rest_of_module()
            return await workload.next()

    assert asyncio.run(go()).context.qualname == "f"


def test_few_functions_are_read_ahead(tmp_path: Path) -> None:
    (one, _), given = two_modules(tmp_path), 0

    def endless() -> Iterator[Module]:
        nonlocal given
        while True:
            given += 1
            yield one

    async def go() -> None:
        async with Workload(endless, ahead=4) as workload:
            for _ in range(100):
                await workload.next()

    asyncio.run(go())
    assert 50 <= given <= 50 + 4


def test_what_reading_raises_is_raised_where_a_turn_is_asked_for(tmp_path: Path) -> None:
    def broken() -> Iterable[Module]:
        yield two_modules(tmp_path)[1]
        raise DataError("packages: gone")

    async def go() -> None:
        async with Workload(broken) as workload:
            assert (await workload.next()).context.qualname == "h"
            with pytest.raises(DataError, match=r"^packages: gone$"):
                await workload.next()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("most", "names"),
    [(None, [["f", "g"], ["h"]]), (1, [["f"]]), (2, [["f", "g"]]), (3, [["f", "g"], ["h"]]), (9, [["f", "g"], ["h"]])],
)
def test_the_first_functions_may_end_within_a_module(tmp_path: Path, most: int | None, names: list[list[str]]) -> None:
    shortened = first_functions(two_modules(tmp_path), most)
    assert [[context.qualname for context in module.functions] for module in shortened] == names
