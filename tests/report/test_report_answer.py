"""An answer in a report: its numbered program, tests, a diff to the reference, copy buttons and a link."""

import difflib
import json
from pathlib import Path

import pytest

from swarmeval.records import Completion, Outcome, Verdict
from swarmeval.report.run_report import write
from swarmeval.tasks.catalog import load
from tests.support.browser import NEEDS_CHROMIUM, Page, page
from tests.support.report_pages import OUTCOMES, open_cell, press, run_of_all_outcomes, text_of
from tests.support.run_folders import leave, plan_of

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
TASKS = load("humaneval").tasks
HIDDEN = "[...document.querySelectorAll('#answer .part[hidden] h3')].map(h => h.textContent)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four tasks in which each of nine agents has a different outcome."""
    return write(run_of_all_outcomes(tmp_path_factory.mktemp("answer") / "run", 4, len(OUTCOMES)))


def test_the_program_is_what_was_judged_and_its_lines_are_numbered(opened: Page) -> None:
    open_cell(opened, 1, 1)
    program = TASKS[1].prompt + "    return 1\n"
    assert text_of(opened, "program") == program
    assert text_of(opened, "program-lines").split("\n") == [str(k + 1) for k in range(program.count("\n"))]
    tops = "['a-program', 'a-program-lines'].map(id => document.getElementById(id).getBoundingClientRect())"
    first, second = opened.run(f"{tops}.map(b => [b.top, b.height])")
    assert first[0] == second[0]
    assert text_of(opened, "tests") == TASKS[1].suite.text
    assert text_of(opened, "tests-lines").startswith("1\n2\n3\n")
    lines = TASKS[1].prompt.rstrip("\n").count("\n") + 1
    assert text_of(opened, "origin") == f"Lines 1 to {lines} come from the task, the others from the reply."


def test_the_diff_leads_from_the_reference_to_the_program(opened: Page) -> None:
    open_cell(opened, 1, 2)
    task = TASKS[1]
    reference, program = task.prompt + task.reference, task.prompt + "    return 2\n"
    shown = text_of(opened, "diff").split("\n")
    expected = difflib.unified_diff(reference.rstrip().split("\n"), program.rstrip().split("\n"), lineterm="")
    assert [line for line in shown if line[0] == "-"] == [line for line in [*expected][2:] if line[0] == "-"]
    assert [line for line in shown if line[0] == "+"] == ["+    return 2"]
    assert shown[0].startswith("@@ -")
    assert opened.run("[...CSS.highlights].map(([name, found]) => [name, found.size])") == [
        ["added", 1],
        ["removed", sum(line[0] == "-" for line in shown)],
        ["hunk", 1],
    ]
    open_cell(opened, 1, 0)
    assert text_of(opened, "diff") == "No lines differ."


@pytest.mark.parametrize(
    ("first", "second", "diff"),
    [
        ("a b c", "a b c", []),
        ("a b c", "a x c", ["@@ -1,3 +1,3 @@", " a", "-b", "+x", " c"]),
        ("a", "a b", ["@@ -1,1 +1,2 @@", " a", "+b"]),
        ("1 2 3 4 5 6 7 8 9", "0 2 3 4 5 6 7 8 0",
         ["@@ -1,4 +1,4 @@", "-1", "+0", " 2", " 3", " 4", "@@ -6,4 +6,4 @@", " 6", " 7", " 8", "-9", "+0"]),
    ],
)  # fmt: skip
def test_diffs_have_hunks_as_diff_u_gives_them(opened: Page, first: str, second: str, diff: list[str]) -> None:
    assert opened.run(f"unified({first.split()}, {second.split()})") == diff


def test_copies_are_the_texts_without_the_numbers_of_their_lines(opened: Page) -> None:
    open_cell(opened, 1, 1)
    opened.run("(() => { window.copied = []; Object.defineProperty(navigator, 'clipboard', "
               "{ value: { writeText: async (text) => { copied.push(text); } } }); })()")  # fmt: skip
    for part in ("program", "tests", "reply", "prompt", "diff"):
        opened.run(f"document.querySelector('[data-copy=a-{part}]').click()")
        opened.until(f"document.querySelector('[data-copy=a-{part}]').textContent === 'copied'")
    texts = opened.run("copied")
    assert texts[0] == TASKS[1].prompt + "    return 1\n"
    assert texts[1:4] == [TASKS[1].suite.text, "```python\n    return 1\n```", TASKS[1].prompt]
    assert texts[4] == text_of(opened, "diff")
    opened.run("document.getElementById('a-copy-link').click()")
    opened.until("copied.length === 6")
    assert opened.run("copied[5]").endswith("/report.html#job=1/HumanEval/1/0/0")


def test_a_copy_works_where_a_page_may_not_use_the_clipboard(opened: Page) -> None:
    open_cell(opened, 1, 1)
    opened.run("(() => { Object.defineProperty(navigator, 'clipboard', { value: undefined }); "
        "document.addEventListener('copy', () => { window.copied = String(getSelection()); }); })()")  # fmt: skip
    button = "document.querySelector('[data-copy=a-reply]')"
    opened.call("Runtime.evaluate", expression=f"{button}.click()", userGesture=True)
    opened.until(f"{button}.textContent === 'copied'")
    assert opened.run("window.copied") == "```python\n    return 1\n```"
    assert opened.run("document.querySelectorAll('textarea').length") == 0


def test_a_link_to_an_answer_opens_it_and_closing_forgets_it(report: Path, tmp_path: Path) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report)
        open_cell(shown, 2, 5)
        link = shown.run("document.getElementById('a-link').href")
        assert link == shown.run("location.href") == f"{report.resolve().as_uri()}#job=5/HumanEval/2/0/0"
        shown.call("Page.navigate", url="about:blank")
        shown.call("Page.navigate", url=link)
        shown.until("document.getElementById('answer')?.open")
        assert shown.run("document.getElementById('a-title').textContent") == "HumanEval/2, agent 5"
        shown.run("location.hash = '#job=0/HumanEval/3/0/0'")
        shown.until("document.getElementById('a-title').textContent === 'HumanEval/3, agent 0'")
        press(shown, "Escape")
        shown.until("!document.getElementById('answer').open")
        shown.until("location.hash === ''")  # the close event comes later
        shown.run("location.hash = '#job=7/Nowhere/<b>/0/0'")
        said = "This report has no answer 7/Nowhere/<b>/0/0; check the link."
        shown.until(f"document.getElementById('pointed').textContent === {said!r}")
        assert shown.complaints == []


def test_without_the_benchmark_an_answer_has_neither_tests_nor_diff(tmp_path: Path) -> None:
    folder = run_of_all_outcomes(tmp_path / "run", 1, 2)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["data"]["sha256"] = "other"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with page(tmp_path / "profile") as shown:
        shown.open(write(folder))
        open_cell(shown, 0, 1)
        assert shown.run(HIDDEN) == [
            "Diff to the reference solution (-: reference, +: this program)",
            "Tests",
            "Thought before the reply",
            "Prompt",
        ]
        assert text_of(shown, "program-title") == "Code extracted from the reply"
        assert text_of(shown, "program") == "    return 1\n"


def test_a_thought_is_opened_on_demand(tmp_path: Path) -> None:
    config, plan = plan_of(1, 3)
    jobs = [plan.job(k).job_id for k in range(3)]
    thoughts = ["Let me see.", "Let me see.", ""]
    answers = [
        (Completion(job, "x", reasoning=thought), Verdict(job, Outcome.WRONG_ANSWER, "x"))
        for job, thought in zip(jobs, thoughts, strict=True)
    ]
    leave(tmp_path / "run", config, plan, answers)
    is_open = "document.getElementById('a-thought').closest('details').open"
    with page(tmp_path / "profile") as shown:
        shown.open(write(tmp_path / "run"))
        for agent in range(2):
            open_cell(shown, 0, agent)
            assert (text_of(shown, "thought"), shown.run(is_open)) == ("Let me see.", False)
            shown.run("document.querySelector('#answer details summary').click()")
            shown.until(is_open)
        open_cell(shown, 0, 2)
        assert "Thought before the reply" in shown.run(HIDDEN)


def test_an_answer_whose_verdict_is_unconfirmed_says_so(tmp_path: Path) -> None:
    config, plan = plan_of(1, 2)
    verdicts = [Verdict(plan.job(k).job_id, Outcome.PASSED, "code", unconfirmed=k == 1) for k in range(2)]
    leave(tmp_path, config, plan, [(Completion(verdict.job_id, "a reply"), verdict) for verdict in verdicts])
    with page(tmp_path / "profile") as shown:
        shown.open(write(tmp_path))
        for agent, said in ((0, "PASSED"), (1, "PASSED, unconfirmed")):
            open_cell(shown, 0, agent)
            assert text_of(shown, "verdict") == said


@pytest.mark.parametrize("width", [390, 1280])
def test_an_open_answer_is_no_wider_than_the_screen(report: Path, tmp_path: Path, width: int) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report, width=width)
        open_cell(shown, 1, 1)
        assert shown.run("document.documentElement.scrollWidth") <= width
        assert shown.run("(d => d.scrollWidth <= d.clientWidth)(document.getElementById('answer'))") is True
        assert shown.run("document.getElementById('answer').getBoundingClientRect().right") <= width
