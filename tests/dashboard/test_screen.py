"""Claims about the dashboard's screen, controlled by Textual's pilot: panels, keys, one answer in full."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from metrics_dashboard import main
from swarmeval.dashboard.app import Dashboard, Panel
from swarmeval.dashboard.detail_screen import DetailScreen
from swarmeval.dashboard.grid import Grid
from swarmeval.records import Outcome
from swarmeval.runs.journal import NAME
from tests.support.made_up_run import (
    HARMLESS,
    HOSTILE,
    NUMBERS,
    completion,
    ended_pid,
    verdict,
    write_journal,
    write_manifest,
    write_run,
    write_status,
)

SIZES = [(80, 24), (160, 48)]

pytestmark = pytest.mark.slow

Act = Callable[[Dashboard, "Pilot[int]"], Awaitable[None]]


def on_screen(folder: Path, act: Act, size: tuple[int, int] = (80, 24)) -> Dashboard:
    """Run the dashboard on a screen of this size and act on it. It updates only on request."""

    async def run() -> Dashboard:
        app = Dashboard(folder, interval_s=3600)
        async with app.run_test(size=size) as pilot:
            await looked(app, pilot)
            await act(app, pilot)
        return app

    return asyncio.run(run())


async def looked(app: Dashboard, pilot: "Pilot[int]") -> None:
    await app.look()
    await pilot.pause()


def words(app: Dashboard) -> str:
    """The text of all visible panels and the grid, with single spaces between words."""
    panels = [panel for panel in app.query(Panel) if panel.content_size.width]
    texts = [str(panel.render()) for panel in panels]
    grid = app.query_one(Grid)
    return " ".join(" ".join([*texts, grid.border_title or "", grid.render().plain]).split())


def parts(app: Dashboard) -> str:
    """The text of the answer screen."""
    return "\n".join(f"{part.border_title}\n{part.render()}" for part in app.screen.query(Static))


async def opened(app: Dashboard, pilot: "Pilot[int]", word: str) -> str:
    """Wait until the answer screen shows `word`, and return its text. The screen reads in a thread."""
    async with asyncio.timeout(60):
        while word not in (shown := parts(app)):
            await pilot.pause(0.02)
    return shown


@pytest.mark.parametrize("size", SIZES)
def test_every_panel_shows_the_numbers_of_the_files(tmp_path: Path, size: tuple[int, int]) -> None:
    write_run(tmp_path)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        shown = words(app)
        for number in NUMBERS:
            assert number in shown
        for row in ("agent 0 P n · ·", "agent 1 w 5 · ·", "agent 2 ~ · · ·"):
            assert row in shown
        assert "tasks x agents agent 0 x HumanEval/0: PASSED" in shown

    (tmp_path / NAME).unlink()
    more = [completion("1/HumanEval/1/1/0"), verdict("1/HumanEval/1/1/0", Outcome.PASSED)]
    write_journal(tmp_path, *more)
    on_screen(tmp_path, act, size)


def test_the_screen_waits_for_a_run_that_has_not_begun(tmp_path: Path) -> None:
    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        shown = words(app)
        assert "no run yet" in shown
        assert "contains no run yet; a run will appear here when it starts" in shown
        write_run(tmp_path)
        await looked(app, pilot)
        assert "412/8200 jobs" in words(app)
        write_status(tmp_path, ended_pid())
        write_manifest(tmp_path, pid=ended_pid())
        await looked(app, pilot)
        assert " killed " in words(app)

    on_screen(tmp_path, act)


def test_a_hostile_run_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, message=HOSTILE)
    write_journal(
        tmp_path, completion(f"3/{HOSTILE}/0/0"), verdict("3/HumanEval/2/0/0", Outcome.PASSED, HOSTILE, HOSTILE)
    )
    (tmp_path / "run.log").write_text(f"{HOSTILE}\n")
    assert main(["--run", str(tmp_path), "--once"]) == 0
    text = capsys.readouterr().out
    assert text.count(HARMLESS) >= 2
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("end", "down", "down", "down")
        await pilot.pause()
        shown = words(app)
        assert shown.count(HARMLESS) >= 2
        assert "\x1b" not in shown

    on_screen(tmp_path, act)


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_is_shown_from_prompt_to_evidence(tmp_path: Path, size: tuple[int, int]) -> None:
    write_run(tmp_path)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("down", "enter")
        shown = await opened(app, pilot, "evidence")
        assert isinstance(app.screen, DetailScreen)
        for part in (
            "HumanEval/0  pass@1 50.0 %  1 of 2 judged passed",
            "agent 1  pass@1 0.0 %  0 of 2 judged passed",
            "1/HumanEval/0/0/0 (the only answer: sample 0, round 0)",
            "prompt\n[user]\nComplete the following Python function.",
            "def has_close_elements(numbers: List[float], threshold: float) -> bool:",
            "reply\nx = 41",
            "candidate: the code extracted from the reply\nx = 41",
            "evidence\nWRONG_ANSWER: AssertionError: f(1) gives 41",
        ):
            assert part in shown
        await pilot.press("escape")
        assert not isinstance(app.screen, DetailScreen)

    on_screen(tmp_path, act, size)


def test_an_answer_that_repairs_another_is_shown_with_what_it_was_told(tmp_path: Path) -> None:
    write_run(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["config"]["max_repairs"] = 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("down", "right", "enter")
        await opened(app, pilot, "(1 of 2: sample 0, round 0)")
        await pilot.press("n")
        shown = await opened(app, pilot, "(2 of 2: sample 0, round 1)")
        assert "This solution is not right." in shown
        assert "second try" in shown

    on_screen(tmp_path, act)


def test_a_hostile_reply_stays_text_and_an_impossible_prompt_is_reported(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / NAME).unlink()
    write_journal(
        tmp_path, completion("0/Nobody/0/0/0", HOSTILE), verdict("0/Nobody/0/0/0", Outcome.RAISED, HOSTILE, HOSTILE)
    )

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("right", "right", "enter")
        shown = await opened(app, pilot, "evidence")
        assert shown.count(HARMLESS) == 3
        assert "(the prompt cannot be shown: the benchmark no longer contains this task)" in shown

    on_screen(tmp_path, act)


def test_p_pauses_and_goes_on(tmp_path: Path) -> None:
    write_run(tmp_path)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("p")
        write_status(tmp_path, phase="draining")
        await looked(app, pilot)
        assert app.query_one(".state", Panel).border_subtitle == "PAUSED, press p to continue"
        assert "draining" not in words(app)
        await pilot.press("p")
        await looked(app, pilot)
        assert "draining" in words(app)

    on_screen(tmp_path, act)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_q_and_ctrl_c_leave(tmp_path: Path, key: str) -> None:
    write_run(tmp_path)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press(key)

    assert on_screen(tmp_path, act).return_code == 0


def test_a_grid_larger_than_the_screen_is_shown_in_blocks_and_zoomed_into(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_manifest(tmp_path, agents=50, tasks=164)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        grid = app.query_one(Grid)
        lines = grid.render().plain.splitlines()
        assert len(lines) <= grid.content_size.height
        assert max(map(len, lines)) <= grid.content_size.width
        assert "agent 0-" in lines[1]
        assert "5 of" not in lines[1]
        await pilot.press("enter")  # zooms in
        assert "agent 0 " in grid.render().plain.splitlines()[1]
        await pilot.press("end")
        assert "task 164, not started" in (grid.border_title or "")
        await pilot.press("z")
        assert "agent 0-" in grid.render().plain.splitlines()[1]

    on_screen(tmp_path, act)


def test_tasks_stand_where_the_manifest_has_them_even_before_they_begin(tmp_path: Path) -> None:
    write_run(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["task_ids"] = ["HumanEval/7", "HumanEval/1", "HumanEval/3", "HumanEval/0"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        assert "agent 0 · n · P" in words(app)
        assert "agent 0 x HumanEval/7: not answered" in words(app)

    on_screen(tmp_path, act)


def test_a_cell_of_a_run_that_was_archived_meanwhile_opens_nothing(tmp_path: Path) -> None:
    write_run(tmp_path)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        app.query_one(Grid).post_message(Grid.Opened(99, "HumanEval/0"))
        await pilot.pause()
        assert not isinstance(app.screen, DetailScreen)

    on_screen(tmp_path, act)


def test_an_empty_folder_has_no_answer_to_open(tmp_path: Path) -> None:
    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("enter", "z", "down", "right", "enter", "pagedown")
        assert not isinstance(app.screen, DetailScreen)

    on_screen(tmp_path, act)
