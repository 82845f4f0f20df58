"""Claims about the dashboard's grid and keys: an answer in full, pausing, zooming, leaving."""

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from bench.journal import NAME
from bench.records import Outcome
from dashboard.app import Dashboard, Panel
from dashboard.detail_screen import DetailScreen
from dashboard.grid import Grid
from tests.dashboards import HARMLESS, HOSTILE, SIZES, looked, on_screen, opened, words
from tests.made_up_run import (
    completion,
    verdict,
    write_journal,
    write_manifest,
    write_run,
    write_status,
)


@pytest.mark.slow
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
            "1/HumanEval/0/0/0 (the only one: sample 0, round 0)",
            "prompt\n[user]\nComplete the following Python function.",
            "def has_close_elements(numbers: List[float], threshold: float) -> bool:",
            "reply, as the model gave it\nx = 41",
            "candidate, the code taken from it\nx = 41",
            "evidence\nWRONG_ANSWER: AssertionError: f(1) gives 41",
        ):
            assert part in shown
        await pilot.press("escape")
        assert not isinstance(app.screen, DetailScreen)

    on_screen(tmp_path, act, size)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_hostile_reply_stays_text_and_a_prompt_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / NAME).unlink()
    write_journal(
        tmp_path, completion("0/Nobody/0/0/0", HOSTILE), verdict("0/Nobody/0/0/0", Outcome.RAISED, HOSTILE, HOSTILE)
    )

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("right", "right", "enter")
        shown = await opened(app, pilot, "evidence")
        assert shown.count(HARMLESS) == 3
        assert "(the prompt cannot be shown: the benchmark has no such task any more)" in shown

    on_screen(tmp_path, act)


@pytest.mark.slow
def test_p_pauses_and_goes_on(tmp_path: Path) -> None:
    write_run(tmp_path)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("p")
        write_status(tmp_path, phase="draining")
        await looked(app, pilot)
        assert app.query_one(".state", Panel).border_subtitle == "PAUSED, p goes on"
        assert "draining" not in words(app)
        await pilot.press("p")
        await looked(app, pilot)
        assert "draining" in words(app)

    on_screen(tmp_path, act)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_q_and_ctrl_c_leave(tmp_path: Path, key: str) -> None:
    write_run(tmp_path)

    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press(key)

    assert on_screen(tmp_path, act).return_code == 0


@pytest.mark.slow
def test_a_grid_too_large_for_the_screen_is_shown_in_blocks_and_zoomed_into(tmp_path: Path) -> None:
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
        assert "task 164, not begun" in (grid.border_title or "")
        await pilot.press("z")
        assert "agent 0-" in grid.render().plain.splitlines()[1]

    on_screen(tmp_path, act)


@pytest.mark.slow
def test_an_empty_folder_has_no_answer_to_open(tmp_path: Path) -> None:
    async def act(app: Dashboard, pilot: "Pilot[int]") -> None:
        await pilot.press("enter", "z", "down", "right", "enter", "pagedown")
        assert not isinstance(app.screen, DetailScreen)

    on_screen(tmp_path, act)
