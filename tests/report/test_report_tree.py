"""The tree of a task's replies in a browser: complete, legible, reachable by keyboard, and beside each answer."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmeval.records import Completion, Outcome, Verdict
from swarmeval.report.run_report import write
from tests.support.browser import NEEDS_CHROMIUM, OVERPRINTED, Page, choose, page
from tests.support.pages import HOSTILE
from tests.support.report_pages import focused, open_cell, press
from tests.support.run_folders import BEGAN, Answer, leave, plan_of

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]

START = "```python\ndef f(a):\n"
ENDS = ("    return sorted(a)\n```", "    return sorted(a)[0]\n```", "    a.sort()\n    return a\n```")
AGENTS = 30
TREE = "document.querySelector('#agree-tree svg[role=tree]')"
BANDS = f"[...{TREE}.querySelectorAll('.branch')]"


def reply(task: int, agent: int) -> str:
    """Task 0: all alike. Task 1: three replies. Task 2: all different. Task 3: they part at once."""
    if task == 0:
        return START + ENDS[0]
    if task == 1:
        return START + ENDS[0 if agent < 15 else 1 if agent < 25 else 2]
    if task == 2:
        return f"{START}    x = {agent % 4}\n    return {'a' * agent}\n```"
    return f"{agent % 2} is the answer\n{'and ' * (agent % 3)}so on"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four tasks and thirty agents. In tasks 1 and 2, agents 0 to 14 pass; in the others none."""
    folder = tmp_path_factory.mktemp("tree") / "run"
    config, plan = plan_of(4, AGENTS)

    def answers() -> Iterator[Answer]:
        for k in range(plan.total):
            job = plan.job(k)
            task = int(job.task_id[10:])
            passes = task in (1, 2) and job.agent_id < 15
            text = reply(task, job.agent_id)
            yield (
                Completion(job.job_id, text, output_tokens=9, latency_s=1.0, finished_at=BEGAN + k, elapsed_s=1.0 + k),
                Verdict(job.job_id, Outcome.PASSED if passes else Outcome.WRONG_ANSWER, text),
            )

    leave(folder, config, plan, answers())
    return write(folder)


def shown_tree(shown: Page, task: int) -> None:
    """Choose a task in the section and wait for its tree."""
    label = shown.run(
        f"[...document.querySelectorAll('#agree-task option')].find(o => o.text.startsWith('HumanEval/{task}:')).text"
    )
    choose(shown, "agree-task", label)
    shown.until(f"{TREE}?.ariaLabel === 'Replies to HumanEval/{task}'")


def test_the_first_tree_is_of_a_task_that_agents_share_and_part_on(opened: Page) -> None:
    opened.until(TREE)
    assert opened.run(f"{TREE}.ariaLabel") == "Replies to HumanEval/1"
    words = "30 agents, 3 distinct replies, 3 distinct programs"
    assert opened.run("document.getElementById('agree-counts').textContent") == words
    said = opened.run("document.getElementById('agree-shared').textContent")
    delivered = sum(len(reply(1, agent)) for agent in range(AGENTS))
    assert said.startswith(f"{delivered:,} characters; ")


def test_branches_part_where_the_replies_do_and_say_who_passed(opened: Page) -> None:
    opened.until(TREE)
    assert opened.run(f"{BANDS}.map(b => b.ariaLabel)") == [
        "30 of 30 agents: ```python \u21b5 def f(a):; 15 of 30 passed, then 2 ways",
        "25 of 30 agents: return sorted(a); 15 of 25 passed, then 2 ways",
        "15 of 30 agents: \u21b5 ```; passed",
        "10 of 30 agents: [0]; wrong answer",
        "5 of 30 agents: a.sort() \u21b5 return a; wrong answer",
    ]
    ends = f"[...{TREE}.querySelectorAll('.letter-in')].map(t => t.textContent)"
    assert opened.run(ends) == ["P", "w", "w"]


def test_a_branch_is_as_thick_as_its_agents_are_many(opened: Page) -> None:
    opened.until(TREE)
    heights = opened.run(f"{BANDS}.slice(2).map(b => b.querySelector('.band').getBBox().height)")
    ends = opened.run(f"{BANDS}.slice(2).map(b => b.querySelector('.band').getAttribute('d'))")
    assert len(ends) == len(heights) == 3
    unit = opened.run(f"{BANDS}[0].querySelector('.band').getBBox().height") / AGENTS
    straight = [float(path.rpartition("V")[2].partition("a")[0]) for path in ends]
    tops = [float(path.split("C")[1].split("H")[0].split()[-1]) for path in ends]
    sizes = [
        bottom + min(4, count * unit / 2) - top for bottom, top, count in zip(straight, tops, (15, 10, 5), strict=True)
    ]
    assert sizes == pytest.approx([15 * unit, 10 * unit, 5 * unit])


def random_replies(seed: int) -> list[str]:
    chance = random.Random(seed)
    words = ["def ", "f", "(x)", ":\n    ", "return ", "1", "2.5", "\n\n", " ", "\u00e9", "\U0001f600", *HOSTILE[:2]]
    return ["".join(chance.choices(words, k=chance.randint(0, 9))) for _ in range(chance.randint(1, 40))]


@pytest.mark.parametrize("seed", range(8))
def test_every_way_through_a_tree_is_a_reply_with_its_answers(opened: Page, seed: int) -> None:
    replies = random_replies(seed)
    found = opened.run(
        f"leavesOf(replyTree({json.dumps(replies)}.map((text, k) => [k, text]), k => k % 2)).map(leaf => "
        "[pathTo(leaf).map(one => one.text).join(''), leaf.answers])"
    )
    assert sorted(found) == sorted(
        [text, [k for k, other in enumerate(replies) if other == text]] for text in set(replies)
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_drawn_tree_has_few_leaves_and_loses_no_answer(opened: Page, seed: int) -> None:
    replies = random_replies(seed)
    leaves = opened.run(
        f"leavesOf(drawable(replyTree({json.dumps(replies)}.map((text, k) => [k, text]), k => k % 2), 6)).map("
        "leaf => [leaf.answers, leaf.replies])"
    )
    assert len(leaves) <= 6
    assert sorted(k for numbers, _ in leaves for k in numbers) == list(range(len(replies)))
    assert sum(count for _, count in leaves) == len(set(replies))


def test_rare_branches_are_drawn_as_one_that_says_so(opened: Page) -> None:
    shown_tree(opened, 2)
    leaves = f"[...{TREE}.querySelectorAll('.end')].length"
    assert 4 <= opened.run(leaves) <= 22
    labels = opened.run(f"{BANDS}.map(b => b.ariaLabel)")
    assert any("different replies" in label for label in labels)
    number = sum(int(label.partition(" ")[0]) for label in labels if " ways" not in label)
    assert number == AGENTS


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("task", [0, 1, 2, 3])
def test_no_label_of_a_tree_overprints_another(report: Path, tmp_path: Path, width: int, task: int) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report, width=width)
        shown_tree(shown, task)
        assert shown.run(OVERPRINTED.replace("svg[role=img]", "svg[role=tree]")) == []
        assert shown.run("document.documentElement.scrollWidth") <= width
        assert shown.run("(c => c.scrollWidth <= c.clientWidth)(document.querySelector('#agree-tree .canvas'))") is True


def test_keys_move_along_the_branches_and_show_their_text(opened: Page) -> None:
    opened.until(TREE)
    opened.run(f"{BANDS}[0].focus()")
    for key, begin in (
        ("ArrowRight", "25 of 30"), ("ArrowDown", "5 of 30"), ("ArrowUp", "25 of 30"), ("ArrowRight", "15 of 30"),
        ("ArrowDown", "10 of 30"), ("ArrowLeft", "25 of 30"), ("Home", "30 of 30"), ("End", "5 of 30"),
    ):  # fmt: skip
        press(opened, key)
        assert focused(opened).startswith(f"{begin} agents"), key
    reading = "document.querySelector('#agree-tree .reading')"
    assert opened.run(f"{reading}.querySelector('p').textContent") == "5 of 30 agents gave this reply: wrong answer."
    assert opened.run(f"{reading}.querySelector('pre').textContent") == START + ENDS[2]
    assert opened.run(f"{reading}.querySelector('mark').textContent") == "a.sort()\n    return a\n```"
    assert opened.run(f"{BANDS}.filter(b => b.tabIndex === 0).length") == 1


def test_enter_opens_an_answer_and_closing_it_leads_back(opened: Page) -> None:
    opened.until(TREE)
    opened.run(f"{BANDS}[4].focus()")
    press(opened, "Enter")
    opened.until("document.getElementById('answer').open")
    assert opened.run("document.getElementById('a-title').textContent") == "HumanEval/1, agent 25"
    press(opened, "Escape")
    opened.until("!document.getElementById('answer').open")
    opened.until("document.activeElement.getAttribute('role') === 'treeitem'")
    assert focused(opened).startswith("5 of 30 agents")


def test_an_answer_shows_its_way_through_the_tree(opened: Page) -> None:
    open_cell(opened, 1, 20)
    opened.until("document.querySelector('#a-tree svg[role=tree]')")
    way = "[...document.querySelectorAll('#a-tree .branch:not(.off)')].map(b => b.ariaLabel.split(' ')[0])"
    assert opened.run(way) == ["30", "25", "10"]
    opened.run("document.querySelector('#a-tree .reading button[aria-label*=\"agent 21:\"]').click()")
    opened.until("document.getElementById('a-title').textContent === 'HumanEval/1, agent 21'")


def test_outcomes_are_told_in_the_colours_of_the_map(opened: Page) -> None:
    opened.until(TREE)
    colour = "getComputedStyle({}).{}"
    end = opened.run(colour.format(f"{TREE}.querySelector('.end.o0')", "fill"))
    assert end == opened.run(colour.format("document.querySelector('#map .cell.o0')", "backgroundColor"))
