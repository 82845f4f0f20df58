"""The map of a report in a browser: letters, cells large enough to click, and keyboard navigation."""

from pathlib import Path

import pytest

from swarmeval.report.run_report import STYLES, write
from swarmeval.watch.outcome_letters import LETTERS
from tests.support.browser import NEEDS_CHROMIUM, Page, page
from tests.support.report_pages import OUTCOMES, colours_in, focused, press, run_of_all_outcomes

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
CSS = STYLES[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of seven tasks in which each of nine agents has a different outcome."""
    return write(run_of_all_outcomes(tmp_path_factory.mktemp("map") / "run", 7, len(OUTCOMES)))


def test_each_cell_has_the_letter_of_its_outcome_and_says_it(opened: Page) -> None:
    row = "[...document.querySelectorAll('.name')].find(n => n.textContent === 'HumanEval/3').closest('.row')"
    assert opened.run(f"[...{row}.querySelectorAll('.cell')].map(c => c.textContent)") == [*LETTERS.values()][:9]
    labels = opened.run(f"[...{row}.querySelectorAll('.cell')].map(c => c.ariaLabel)")
    assert labels[:2] == ["HumanEval/3, agent 0: passed", "HumanEval/3, agent 1: wrong answer"]
    heads = "[...document.querySelector('.heads .row').querySelectorAll('.head')].map(h => h.textContent)"
    assert opened.run(heads) == [str(agent) for agent in range(9)]


def test_the_key_names_each_letter_that_came(opened: Page) -> None:
    assert opened.run("document.getElementById('letters').textContent.trim()") == (
        "P passed w wrong answer r raised t timed out m out of memory s bad syntax e empty c crashed x tampered"
    )


@pytest.mark.parametrize("width", [390, 1280])
def test_a_cell_is_at_least_24_pixels_each_way(report: Path, tmp_path: Path, width: int) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report, width=width)
        sizes = shown.run("[...document.querySelectorAll('.cell')].map(c => c.getBoundingClientRect())"
                          ".map(b => [b.width, b.height])")  # fmt: skip
        assert len(sizes) == 63
        assert min(map(min, sizes)) >= 24


@pytest.mark.parametrize("dark", [False, True])
def test_a_cell_shows_the_colours_of_its_theme(report: Path, tmp_path: Path, dark: bool) -> None:
    colours = colours_in(CSS, "dark" if dark else "light")
    look = "(s => [s.backgroundColor, s.color])(getComputedStyle(document.querySelector('.cell.o1')))"
    with page(tmp_path / "profile") as shown:
        shown.open(report, dark=dark)
        found = ["#" + "".join(f"{int(part):02x}" for part in text[4:-1].split(", ")) for text in shown.run(look)]
    assert found == [colours["o1"], colours["o1-ink"]]


def test_the_ids_of_the_agents_stay_while_the_map_is_scrolled(report: Path, tmp_path: Path) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report, width=390)
        shown.run("document.getElementById('map').style.maxHeight = '120px'")
        shown.run("document.getElementById('map').scrollTo(60, 80)")
        at = "(e => e.getBoundingClientRect())"
        above = shown.run(f"{at}(document.querySelector('.head')).top - {at}(document.getElementById('map')).top")
        assert 0 <= above < 10
        names = shown.run(f"{at}(document.querySelector('.name')).left - {at}(document.getElementById('map')).left")
        assert 0 <= names < 20


def test_keys_reach_every_cell_open_it_and_close_it(opened: Page) -> None:
    opened.run("document.getElementById('order').focus()")
    press(opened, "Tab")
    assert focused(opened) == "HumanEval/0, agent 0: passed"
    assert opened.run("document.activeElement.matches(':focus-visible')") is True
    press(opened, "ArrowRight")
    assert focused(opened) == "HumanEval/0, agent 1: wrong answer"
    press(opened, "ArrowDown")
    columns = opened.run("getComputedStyle(document.getElementById('map')).gridTemplateColumns.split(' ').length")
    assert focused(opened) == f"HumanEval/{columns}, agent 1: wrong answer"
    press(opened, "Home")
    assert focused(opened) == f"HumanEval/{columns}"
    press(opened, "ctrl+End")
    assert focused(opened) == "HumanEval/6, agent 8: tampered"
    press(opened, "Enter")
    opened.until("document.getElementById('answer').open")
    assert opened.run("document.getElementById('a-title').textContent") == "HumanEval/6, agent 8"
    press(opened, "ArrowLeft")
    opened.until("document.getElementById('a-title').textContent === 'HumanEval/6, agent 7'")
    press(opened, "Escape")
    opened.until("!document.getElementById('answer').open")
    opened.until("document.activeElement.ariaLabel === 'HumanEval/6, agent 7: crashed'")  # the close event comes later
    assert opened.run("document.querySelectorAll('#map [tabindex=\"0\"]').length") == 1


def test_tasks_of_one_agent_flow_into_columns(tmp_path: Path) -> None:
    report = write(run_of_all_outcomes(tmp_path / "run", 40, 1))
    with page(tmp_path / "profile") as shown:
        shown.open(report)
        tops = shown.run("[...document.querySelectorAll('.row .cell')].map(c => c.getBoundingClientRect().top)")
        assert len(set(tops)) <= 10
        heads = "[...document.querySelectorAll('.heads .head')].filter(h => h.getBoundingClientRect().height > 0)"
        heads += ".map(h => Math.round(h.getBoundingClientRect().left)).slice(0, 4)"
        cells = "[...document.querySelectorAll('.cell')].map(c => Math.round(c.getBoundingClientRect().left))"
        assert shown.run(heads) == shown.run(f"{cells}.slice(0, 4)")


def test_samples_that_differ_show_the_tenths_that_passed(tmp_path: Path) -> None:
    report = write(run_of_all_outcomes(tmp_path / "run", 1, 2, num_samples=2))
    with page(tmp_path / "profile") as shown:
        shown.open(report)
        assert shown.run("[...document.querySelectorAll('.cell')].map(c => c.textContent)") == ["5", "0"]
        label = shown.run("document.querySelector('.cell').ariaLabel")
        assert label == "HumanEval/0, agent 0: 1 of 2 passed"
        assert "0\u20139 samples passed, in tenths" in shown.run("document.getElementById('letters').textContent")
