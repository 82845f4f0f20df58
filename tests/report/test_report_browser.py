"""The report in a real headless Chromium: no console messages, search, filters, replies, and inert hostile ones."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmeval.records import Completion, Outcome, Verdict
from swarmeval.report.run_report import write
from swarmeval.scores import other_harnesses
from swarmeval.scores.other_harnesses import under_rule
from swarmeval.tasks.catalog import load
from tests.support.browser import NEEDS_CHROMIUM, Page, ReportPage, choose, page, quiet
from tests.support.pages import HOSTILE
from tests.support.report_pages import open_cell, text_of
from tests.support.run_folders import BEGAN, Answer, leave, plan_of

pytestmark = [
    pytest.mark.slow,
    NEEDS_CHROMIUM,
]
MANY = "x" * 1_000_000
OF_TREES = {"div", "svg", "defs", "linearGradient", "stop", "g", "path", "rect", "text", "tspan", "p", "strong",
            "button", "span", "pre", "mark"}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of six tasks and seven agents: some hostile replies, one of 1 MB, one with a unique word."""
    folder = tmp_path_factory.mktemp("report") / "run"
    config, plan = plan_of(6, 7)
    texts = [*HOSTILE, MANY, "def zebra(): return 1"]

    def answers() -> Iterator[Answer]:
        for k in range(plan.total):
            job = plan.job(k)
            text = texts[job.agent_id] if job.task_id == "HumanEval/2" else f"a reply of agent {job.agent_id}"
            outcome = Outcome.PASSED if job.agent_id < 2 else Outcome.RAISED if job.agent_id < 5 else Outcome.TAMPERED
            yield (
                Completion(job.job_id, text, prompt_tokens=20 + k % 5, output_tokens=30 + 7 * k % 50,
                           latency_s=1 + 0.1 * (k % 13), finished_at=BEGAN + k, elapsed_s=1.0 + k),
                Verdict(job.job_id, outcome, text, text[:200]),
            )  # fmt: skip

    leave(folder, config, plan, answers(), notes={"cheat": HOSTILE[0]})
    jobs = [plan.job(k).job_id for k in range(plan.total)]
    rules = {"ours": jobs[:12], "lm-eval-instruct": jobs[8:30], "simple-evals": []}
    other_harnesses.write(folder, [under_rule(name, jobs, frozenset(passed)) for name, passed in rules.items()])
    return write(folder)


@pytest.fixture
def opened(report: Path, tmp_path: Path) -> Iterator[Page]:
    """The page in a browser. Fails if the test caused console messages or made the page load anything."""
    with quiet(tmp_path / "profile", report, "example/model on humaneval - Swarmeval") as shown:
        yield shown


SHOWN = "[...document.querySelectorAll('.row:not([hidden]) .name')].map(b => b.textContent)"
BRIGHT = "document.querySelectorAll('.row:not([hidden]) [data-agent]:not(.dim)').length"


def type_in(shown: Page, words: str, expected: str) -> None:
    shown.run(f"(() => {{ const s = document.getElementById('search'); s.value = {words!r}; "
              "s.dispatchEvent(new Event('input')); })()")  # fmt: skip
    shown.until(f"document.getElementById('found').textContent === {expected!r}")


def test_everything_is_drawn(opened: Page) -> None:
    assert opened.run("document.querySelectorAll('.row .name').length") == 6
    assert opened.run("document.querySelectorAll('.row .cell').length") == 42
    for place in ("curve", "histogram", "scatter", "panels"):
        assert opened.run(f"document.querySelectorAll('#{place} svg').length") >= 1, place
    assert opened.run("document.querySelectorAll('svg [d*=NaN], svg [x*=NaN], svg [y*=NaN]').length") == 0


def test_search_finds_replies_prompts_and_names(opened: Page) -> None:
    type_in(opened, "Zebra", "1 answers of 1 tasks")
    assert (opened.run(SHOWN), opened.run(BRIGHT)) == (["HumanEval/2"], 1)
    type_in(opened, "separate_paren_groups", "7 answers of 1 tasks")
    assert opened.run(SHOWN) == ["HumanEval/1"]
    type_in(opened, "nowhere to be found", "0 answers of 0 tasks")
    type_in(opened, "", "")
    assert opened.run(BRIGHT) == 42


def test_filters_narrow_what_is_shown_and_what_is_stepped_through(opened: Page) -> None:
    choose(opened, "outcome", "TAMPERED")
    opened.until("document.getElementById('found').textContent === '12 answers of 6 tasks'")
    choose(opened, "agent", "agent 6")
    opened.until("document.getElementById('found').textContent === '6 answers of 6 tasks'")
    open_cell(opened, 0, 6)
    opened.run("document.getElementById('a-after').click()")
    opened.until("document.getElementById('a-title').textContent === 'HumanEval/1, agent 6'")
    opened.run("document.getElementById('a-close').click()")
    assert opened.run("document.getElementById('answer').open") is False


def test_a_cell_shows_prompt_reply_program_tests_and_evidence(opened: Page) -> None:
    open_cell(opened, 0, 3)
    assert "has_close_elements" in opened.run("document.getElementById('a-prompt').textContent")
    for part in ("reply", "evidence"):
        assert text_of(opened, part) == "a reply of agent 3"
    task = load("humaneval").tasks[0]
    assert text_of(opened, "program") == task.prompt + "a reply of agent 3"
    assert text_of(opened, "tests") == task.suite.text
    assert opened.run("document.getElementById('a-verdict').textContent") == "RAISED"


def test_hostile_replies_are_shown_as_the_text_they_are(opened: Page) -> None:
    elements = "document.querySelectorAll('*:not(#a-tree *, #agree-tree *)').length"
    before = opened.run(elements)
    for agent, text in enumerate((*HOSTILE, MANY)):
        open_cell(opened, 2, agent)
        assert text_of(opened, "reply") == text
    assert opened.run(elements) == before
    in_trees = opened.run("[...document.querySelectorAll('#a-tree *, #agree-tree *')].map(e => e.localName)")
    assert {"svg", "path", "text"} <= set(in_trees) <= OF_TREES
    assert opened.run("document.querySelectorAll('img, iframe, b, i').length") == 0


class TestPage(ReportPage):
    pass


def test_printed_it_is_black_on_white_with_every_task(report: Path, tmp_path: Path) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report, dark=True)
        printed = base64.b64decode(shown.call("Page.printToPDF")["data"])
        assert printed.startswith(b"%PDF")
        shown.call("Emulation.setEmulatedMedia", media="print")
        assert shown.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert shown.run("(e => e.scrollHeight === e.clientHeight)(document.getElementById('map'))") is True
