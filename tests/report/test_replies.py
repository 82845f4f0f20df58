"""The replies that a report holds, and their format."""

import base64
import json
import random
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Completion, Failure, Job, Outcome, Verdict
from swarmeval.report.replies import ALL, PACKED_MOST, Packs, Portion, by_task, fitting, pack
from swarmeval.report.run_report import write
from swarmeval.report.task_texts import TaskTexts
from swarmeval.runs.answer_index import AnswerIndex, AnswerLocation
from tests.support.checkout import ROOT
from tests.support.run_folders import leave, plan_of


def source(name: str) -> str:
    return (ROOT / "swarmeval" / f"{name}.py").read_text(encoding="utf-8")


WORDS = sorted(
    {
        word
        for name in ("runs/plan", "scores/stats", "extraction/programs", "extraction/candidate")
        for word in re.findall(r"[a-z_]+", source(name))
    }
)


def unpacked(text: str) -> dict[str, Any]:
    return dict(json.loads(zlib.decompress(base64.b64decode(text))))


def answered(job_id: str, text: str, passes: bool, candidate: str = "code") -> tuple[Completion, Verdict]:
    outcome = Outcome.PASSED if passes else Outcome.WRONG_ANSWER
    return Completion(job_id, text, output_tokens=5, latency_s=1.5), Verdict(job_id, outcome, candidate, "why")


def packed(answers: AnswerIndex, texts: dict[str, TaskTexts], most: int = PACKED_MOST) -> Packs:
    return pack(answers, by_task(answers), texts, most)


def small_run(folder: Path, length: int = 10) -> AnswerIndex:
    """The answers of a run of two tasks and three agents; agent 1 passes."""
    config, plan = plan_of(2, 3)
    jobs = [plan.job(k) for k in range(plan.total)]
    leave(folder, config, plan, [answered(job.job_id, job.job_id + "x" * length, job.agent_id == 1) for job in jobs])
    return AnswerIndex(folder, 2)


def test_every_answer_of_a_task_is_in_its_pack(tmp_path: Path) -> None:
    packs = packed(small_run(tmp_path), {"HumanEval/0": TaskTexts("a prompt", "def f():\n", "assert f()", None)})
    assert packs.portion == Portion()
    assert packs.portion.words() == ""
    first, second = (unpacked(text) for text in packs.packs)
    assert (first["prompt"], second["prompt"]) == ("a prompt", "")
    assert (first["source"], first["tests"], first["reference"]) == ("def f():\n", "assert f()", None)
    assert first["answers"][1] == [5, 1.5, "", "why", "", "1/HumanEval/0/0/0xxxxxxxxxx", 0]


def test_each_distinct_program_is_packed_once(tmp_path: Path) -> None:
    config, plan = plan_of(1, 3)
    codes = {plan.job(k).job_id: code for k, code in enumerate(("    return 1", "    return 2", "    return 1"))}
    leave(tmp_path, config, plan, [answered(job, "a reply", False, code) for job, code in codes.items()])
    (text,) = packed(AnswerIndex(tmp_path, 1), {}).packs
    assert [row[-1] for row in unpacked(text)["answers"]] == [
        "    return 1",
        "    return 2",
        0,
    ]  # the same as for the first answer


def test_an_unconfirmed_verdict_is_marked(tmp_path: Path) -> None:
    config, plan = plan_of(1, 2)
    verdicts = [Verdict(plan.job(k).job_id, Outcome.PASSED, "code", unconfirmed=k == 1) for k in range(2)]
    leave(tmp_path, config, plan, [(Completion(verdict.job_id, "a reply"), verdict) for verdict in verdicts])
    (text,) = packed(AnswerIndex(tmp_path, 1), {}).packs
    assert [row[7:] for row in unpacked(text)["answers"]] == [[], [1]]


def test_a_failure_says_why_and_has_no_texts(tmp_path: Path) -> None:
    config, plan = plan_of(1, 1)
    leave(tmp_path, config, plan, [(Failure("0/HumanEval/0/0/0", "it died thrice", 3), None)])
    (text,) = packed(AnswerIndex(tmp_path, 1), {}).packs
    assert unpacked(text)["answers"] == [[0, 0, "", "it died thrice", "", None, None]]


def test_passing_replies_are_left_out_first_and_the_page_says_so(tmp_path: Path) -> None:
    chance = random.Random(1)
    config, plan = plan_of(2, 4)
    texts = {plan.job(k).job_id: chance.randbytes(3000).hex() for k in range(8)}
    leave(tmp_path, config, plan, [answered(job, text, job[0] in "13") for job, text in texts.items()])
    packs = packed(AnswerIndex(tmp_path, 2), {}, most=25_000)
    assert sum(map(len, packs.packs)) <= 25_000
    assert packs.portion == Portion(passing=0)
    assert packs.portion.words() == "To keep this page under 5 MB, it contains no passing replies."
    replies = [row[5] for row in unpacked(packs.packs[0])["answers"]]
    assert replies == [texts["0/HumanEval/0/0/0"], None, texts["2/HumanEval/0/0/0"], None]


def test_then_long_texts_are_cut_and_at_last_all_are_left_out(tmp_path: Path) -> None:
    chance = random.Random(1)
    config, plan = plan_of(1, 4)
    leave(
        tmp_path, config, plan, [answered(plan.job(k).job_id, chance.randbytes(50_000).hex(), False) for k in range(4)]
    )
    answers = AnswerIndex(tmp_path, 1)
    cut = packed(answers, {}, most=40_000)
    assert cut.portion.cut == 4000
    assert unpacked(cut.packs[0])["answers"][0][5].endswith("\n[96,000 more characters]")
    assert packed(answers, {}, most=10).portion.others == 0


def test_tasks_come_in_the_order_asked_for_and_others_by_number(tmp_path: Path) -> None:
    config, plan = plan_of(12, 1)
    leave(tmp_path, config, plan, [answered(plan.job(k).job_id, "r", False) for k in reversed(range(12))])
    tasks = list(by_task(AnswerIndex(tmp_path, 12), ["HumanEval/3"]))
    assert tasks == [f"HumanEval/{k}" for k in (3, 0, 1, 2, *range(4, 12))]


@given(
    sizes=st.lists(st.tuples(st.integers(0, 5000), st.booleans()), min_size=1, max_size=40),
    raw=st.integers(0, 100_000),
)
def test_a_portion_fits_or_is_nothing_and_holds_all_that_fits(sizes: list[tuple[int, bool]], raw: int) -> None:
    places = [
        AnswerLocation(Job(k, "T"), Outcome.PASSED if good else Outcome.RAISED, 0, 0, n)
        for k, (n, good) in enumerate(sizes)
    ]
    portion = fitting({"T": places}, raw)
    good, bad = [n for n, passed in sizes if passed], [n for n, passed in sizes if not passed]
    kept = sum(min(n, 2 * portion.cut) for n in good[: portion.passing] + bad[: portion.others])
    assert kept <= raw
    if sum(good) + sum(bad) <= raw:
        assert portion == Portion()
    if portion.cut < ALL:
        assert portion.passing == 0


def realistic(chance: random.Random, entry: str, length: int) -> str:
    """A reply of about this many characters with the entropy of text: random words in lines of code and prose."""
    lines = ["Here is a solution:", "```python", f"def {entry}(numbers, threshold):"]
    while sum(map(len, lines)) < length:
        lines.append(
            "    " * chance.randint(1, 3)
            + " ".join(chance.choices(WORDS, k=chance.randint(3, 9)))
            + str(chance.randrange(1000))
        )
    return "\n".join([*lines, "```"])


@pytest.mark.slow
def test_a_full_run_of_8200_replies_of_2_kb_stays_under_5_mb(tmp_path: Path) -> None:
    chance = random.Random(3)
    config, plan = plan_of(164, 50)

    def answers() -> Any:
        for k in range(plan.total):
            job = plan.job(k)
            text = realistic(chance, f"task_{job.task_id[10:]}", 2000)
            yield answered(job.job_id, text, chance.random() < 0.6, text[30:-4])

    leave(tmp_path, config, plan, answers())
    page = write(tmp_path)
    assert 2_000_000 < page.stat().st_size < 5_000_000
    said = page.read_text(encoding="utf-8")
    assert ("To keep this page under 5 MB" in said) == ("no passing replies" in said or "only the first" in said)
