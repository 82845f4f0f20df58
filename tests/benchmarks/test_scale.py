"""The scale benchmark at a trivial size: every part runs, and its numbers are consistent."""

import asyncio
import time
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.scripted_run import LOOK_EVERY_S, Lateness, SampledJudge, peak_mb
from human_eval_runner import load_tasks
from swarmeval.records import Completion, Outcome, Verdict
from swarmeval.runs.journal import Journal
from swarmeval.runs.plan import Plan, make_agents


class CountingJudge:
    """A judge that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def judge(self, completion: Completion, _: bool) -> Verdict:
        self.calls += 1
        return Verdict(completion.job_id, Outcome.RAISED, completion.reply)


def test_a_text_gets_its_earlier_verdict_unless_it_is_sampled(tmp_path: Path) -> None:
    counting = CountingJudge()
    sampled = SampledJudge(counting.judge, 4, tmp_path)
    texts = ["a", "b", "a", "a", "b", "b", "a", "a"]
    verdicts = [asyncio.run(sampled.judge(Completion(f"{k}/T/0/0", text))) for k, text in enumerate(texts)]
    assert [verdict.job_id for verdict in verdicts] == [f"{k}/T/0/0" for k in range(8)]
    assert [verdict.code for verdict in verdicts] == texts
    assert counting.calls == sampled.judged == 4  # a, b, the fourth and the eighth completion


@pytest.mark.slow
def test_every_sample_of_a_blocked_loop_is_late() -> None:
    async def session() -> dict[str, float | None]:
        late = Lateness()
        async with late.sampled():
            await asyncio.sleep(5 * LOOK_EVERY_S)
            until = time.monotonic() + 50 * LOOK_EVERY_S
            while time.monotonic() < until:  # blocks the loop
                pass
            await asyncio.sleep(LOOK_EVERY_S)
            return late.take("held")

    found = asyncio.run(session())
    half, most = found["held_late_p50_ms"], found["held_late_max_ms"]
    assert half is not None
    assert most is not None
    assert 0.4 * 500 < most < 4 * 500
    assert 0.3 * most < half < 0.7 * most  # most samples fall within the block, evenly spread


def test_a_cut_removes_the_answers_however_far_verdicts_are_behind(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"completion":{}}\n' * 5 + '{"verdict":{}}\n' * 4)
    assert [scale.before_the_last(path, count) for count in (1, 2, 5, 9)] == [4, 3, 0, 0]


def test_a_cut_leaves_whole_lines_and_half_of_another(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"session":{"started_at":1.0}}\n' * 10)
    scale.cut(path, 6)
    assert path.read_bytes().count(b"\n") == 6
    assert not path.read_bytes().endswith(b"\n")
    with Journal(tmp_path) as journal:
        assert journal.length == 6 * len(b'{"session":{"started_at":1.0}}\n')


def test_a_peak_can_be_reset() -> None:
    held = b"x" * (64 << 20)
    assert held
    del held
    assert peak_mb(restart=True) > peak_mb() + 32


@pytest.mark.slow
def test_every_part_runs_and_its_numbers_add_up(tmp_path: Path) -> None:
    options = scale.read(["--many=2", "--workers=2", "--seconds=1", "--lines=3000", "--judge-every=100000"])
    config = scale.config_of(tmp_path, 1, 2)
    plan = Plan(make_agents(config), load_tasks())
    judge = CountingJudge().judge  # no sandbox: that takes a minute
    asyncio.run(SampledJudge(judge, 1, tmp_path / "run").learn(plan, config))
    ran, resumed, again = (scale.measured(part, tmp_path / "run", 1, options) for part in ("run", "resume", "lines"))
    paced = scale.measured("pace", tmp_path / "pace", 1, options)
    assert ran["jobs"] == ran["new_jobs"] == 10_004
    assert ran["judged_in_sandbox"] == 0
    assert resumed["found_jobs"] + resumed["new_jobs"] == 10_004  # type: ignore[operator]
    assert resumed["new_jobs"] == scale.CUT_ANSWERS
    assert 0 < again["found_jobs"] < 3000  # type: ignore[operator]
    assert resumed["open_s"] < resumed["ready_s"] < resumed["first_job_s"]  # type: ignore[operator]
    assert paced["control_late_max_ms"] > 0  # type: ignore[operator]
    assert paced["new_jobs"] > 0  # type: ignore[operator]
    assert "".join(scale.table([ran, ran])).count("10,004.0") == 4
