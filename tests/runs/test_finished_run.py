"""Two runs are compared only if their verdicts mean the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from swarmeval.runs.finished_run import EndedRun, differing, refusal

RUN = EndedRun(
    folder=Path("run"), run_id="run", config={}, data_sha256="0", version="1", weights="none", score={},
    shares={"BigCodeBench/1": 1.0}, memory_mb=None, energy_wh=None, made_elsewhere=False,
    judge_python={"Python": "3.10.13", "numpy": "1.21.2"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("judge_python", "said"),
    [
        (dict(RUN.judge_python), ""),
        ({"Python": "3.11.7", "numpy": "1.21.2"}, "Python under judge_python is 3.10.13 and 3.11.7"),
        ({"Python": "3.10.13", "numpy": "1.24.3"}, "numpy under judge_python is 1.21.2 and 1.24.3"),
        ({"Python": "3.10.13"}, "numpy under judge_python is 1.21.2 and missing"),
    ],
)
def test_runs_under_other_packages_are_not_compared(judge_python: dict[str, str], said: str) -> None:
    found = refusal(RUN, replace(RUN, judge_python=judge_python))
    assert found == (said and f"they were judged differently: {said}")


def test_settings_that_do_not_touch_answers_or_verdicts_are_not_told() -> None:
    one = replace(
        RUN, config={"temperature": 0.5, "mlflow.tags": {"a": "b"}, "judge_service.queue": 9, "verbose": True}
    )
    other = replace(RUN, config={"temperature": 0.7, "mlflow.tags": {}, "monitor.interval_s": 2.0})
    assert differing(one, other) == {"temperature": (0.5, 0.7)}
