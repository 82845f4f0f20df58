"""Folders of finished runs that hold every kind of answer, for exports."""

from pathlib import Path

from human_eval_runner import canonical_solutions
from swarmeval.records import Completion, Failure, Outcome, Verdict
from tests.support.run_folders import BEGAN, Answer, leave, plan_of

WRONG = "    return None\n"
VERSIONS = {"versions": {"swarmeval": "0.1.0"}}


def mixed_run(folder: Path) -> Path:
    """Two agents and two tasks: a passing, a wrong and an empty answer, and a failed job."""
    right = canonical_solutions()["HumanEval/0"]
    config, plan = plan_of(2, 2, temperature=0.5)
    answers = [
        _answer("0/HumanEval/0/0/0", f"```python\n{right}```", Outcome.PASSED, right),
        _answer("1/HumanEval/0/0/0", "Call it & see: 50 %", Outcome.WRONG_ANSWER, WRONG),
        _answer("0/HumanEval/1/0/0", "I cannot.", Outcome.EMPTY, ""),
        (Failure("1/HumanEval/1/0/0", "the server said no", 3), None),
    ]
    leave(folder, config, plan, answers, notes=VERSIONS)
    return folder


def whole_run(folder: Path) -> Path:
    """One agent and all tasks of HumanEval, of which half pass."""
    config, plan = plan_of(164, 1)
    answers = [
        _answer(f"0/HumanEval/{number}/0/0", "x", Outcome.PASSED if number % 2 else Outcome.RAISED, WRONG)
        for number in range(164)
    ]
    leave(folder, config, plan, answers, notes={"prompts": {"prompt_mode": "chat"}, **VERSIONS})
    return folder


def _answer(job_id: str, reply: str, outcome: Outcome, code: str) -> Answer:
    completion = Completion(
        job_id, reply, device="cpu:0", prompt_tokens=9, output_tokens=5, queue_s=0.5, ttft_s=1.0, latency_s=2.0,
        finish_reason="stop", finished_at=BEGAN + 3,
    )  # fmt: skip
    return completion, Verdict(job_id, outcome, code, note="fence")
