"""Claims about the text of the progress display: all known values, as many as fit."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Status, WorkerStatus
from swarmeval.watch.progress_text import details

KNOWN: dict[str, Any] = {
    "jobs_per_s": 0.4,
    "tokens_per_s": 210.0,
    "output_tokens": 9000,
    "eta_s": 87.0,
    "pass_at_1": 0.0625,
}


def status(phase: str, done: int = 12, **more: object) -> Status:
    return Status("r", 1, phase, 0.0, 8200, done, **more)  # type: ignore[arg-type]


@given(width=st.integers(0, 120))
def test_the_count_is_always_there_and_what_does_not_fit_is_not(width: int) -> None:
    text = details(status("generating", **KNOWN), width)
    assert text.startswith("12/8200")
    assert len(text) <= max(width, len("12/8200"))
    assert ("ETA" in text) or not any(word in text for word in ("pass@1", "tokens/s", "jobs/s"))  # dropped last


def test_eighty_columns_hold_time_left_score_and_speed() -> None:
    text = details(status("generating", **KNOWN), 80 - 7 - len("generating") - 10 - 3)
    assert text == "12/8200  ETA 00:01:27  pass@1 6.2 %  210 tokens/s"


def test_a_wide_line_tells_computed_tokens_from_delivered_ones() -> None:
    text = details(status("generating", computed_tokens_per_s=49.0, computed_tokens=2100, **KNOWN), 70)
    assert text == "12/8200  ETA 00:01:27  pass@1 6.2 %  210 tokens/s  49 computed/s"
    equal = status("generating", computed_tokens_per_s=210.0, computed_tokens=9000, **KNOWN)
    assert "computed" not in details(equal, 200)
    assert "computed" not in details(status("generating", **KNOWN), 200)


def test_failures_stay_if_there_are_any() -> None:
    assert details(status("generating", failures=3, **KNOWN), 45) == "12/8200  ETA 00:01:27  3 failures"


def test_the_step_of_loading_is_named() -> None:
    workers = (WorkerStatus("cpu:0", "loading", loading="converting the bundled model (once)"),)
    text = details(status("loading", 0, workers=workers), 48)
    assert text == "0/8200  converting the bundled model (once)"


def test_before_the_first_answer_tokens_show_that_it_goes_on() -> None:
    assert details(status("generating", 0), 50) == "0/8200  waiting for the first tokens  0 failures"
    text = details(status("generating", 0, tokens_per_s=55.2, output_tokens=1204), 50)
    assert text == "0/8200  55 tokens/s  1,204 tokens  0 failures"
