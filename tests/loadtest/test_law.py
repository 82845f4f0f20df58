"""load.json of made-up runs: its contents, and that undefined values are never numbers."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.loadtest.facts import LevelFacts, LoadFacts, Slo
from swarmeval.loadtest.law import ALL, law
from swarmeval.loadtest.request_rows import RequestRow
from tests.support.made_up_load import closed_loop, row


def of(rows: list[RequestRow], **facts: Any) -> dict[str, Any]:
    content = law(rows, LoadFacts(**facts))
    json.dumps(content, allow_nan=False)
    return content


def test_levels_are_in_the_order_of_the_run_with_their_packages() -> None:
    content = of(
        [*closed_loop(60, clients=4), *closed_loop(60)], levels=(LevelFacts("1 at once", 2.0), LevelFacts("9/s"))
    )
    assert [level["name"] for level in content["levels"]] == ["1 at once", "4 at once"]
    assert list(content["levels"][0]["groups"]) == [ALL, "numpy", "seaborn", "torch"]
    assert (content["levels"][0]["warmup_s"], content["levels"][1]["warmup"]) == (2.0, 4)
    assert (content["requests"], content["counted"], content["failed"]) == (120, 115, 0)


def test_throughput_is_answers_per_measured_time() -> None:
    rows = [row(k, at=float(k), latency_s=1.0, tokens=(10, 30), error="500" if k == 3 else None) for k in range(10)]
    group = of(rows)["levels"][0]["groups"][ALL]
    assert (group["requests_per_s"], group["output_tokens_per_s"]) == (pytest.approx(0.9), pytest.approx(27))
    assert of(rows)["levels"][0]["in_the_air_mean"] == pytest.approx(1.0)


def test_computed_tokens_are_stated_if_every_answer_states_them() -> None:
    rows = [row(k, at=float(k), tokens=(10, 30)) for k in range(10)]
    told = [replace(one, request=replace(one.request, computed_tokens=12)) for one in rows]
    group = of(told)["levels"][0]["groups"][ALL]
    assert (group["output_tokens"], group["computed_tokens"]) == (300, 120)
    assert group["computed_tokens_per_s"] == pytest.approx(12)
    assert "computed_tokens" not in of([*told[1:], rows[0]])["levels"][0]["groups"][ALL]


def test_latencies_exclude_failed_and_warm_up_requests() -> None:
    rows = [
        *(row(k, at=float(k)) for k in range(20)),
        row(50, latency_s=99.0, error="hang"),
        row(51, latency_s=99.0, counts=False),
    ]
    level = of(rows)["levels"][0]
    assert level["groups"][ALL]["latency_s"]["most"] == 1.0
    assert level["groups"][ALL]["latency_s"]["count"] == 20
    assert level["errors"] == [{"reason": "hang", "count": 1}]
    assert (level["answered"], level["failed"], level["warmup"]) == (20, 1, 1)


def test_goodput_is_the_share_of_all_requests_within_every_limit() -> None:
    rows = [row(k, at=float(k), ttft_s=0.1 * k, latency_s=0.1 * k + 0.39, tokens=(10, 40)) for k in range(10)]
    rows.append(row(10, at=9.0, latency_s=1.0, error="500"))
    good = of(rows, slo=Slo(ttft_s=0.45))["levels"][0]["groups"][ALL]["goodput"]
    assert good["share"] == 5 / 11
    assert good["requests_per_s"] == pytest.approx(5 / 10.29)
    assert of(rows, slo=Slo(tpot_s=0.0099))["levels"][0]["groups"][ALL]["goodput"]["share"] == 0
    assert of(rows, slo=Slo(0.45, 0.02))["levels"][0]["groups"][ALL]["goodput"]["share"] == 5 / 11
    group = of(rows)["levels"][0]["groups"][ALL]
    assert group["goodput"] is None
    assert group["undefined"]["goodput"] == "no limit was set: goodput needs one for TTFT, TPOT or both"


def test_without_streaming_goodput_is_undefined_with_a_reason() -> None:
    group = of([row(k, at=float(k), ttft_s=None) for k in range(20)], slo=Slo(1.0))["levels"][0]["groups"][ALL]
    reason = "time to first token is unknown: answers were not streamed"
    assert (group["goodput"], group["ttft_s"], group["tpot_s"]) == (None, None, None)
    assert group["undefined"]["goodput"] == group["undefined"]["ttft_s"] == reason


def test_a_test_files_time_runs_from_its_first_request_to_its_writing() -> None:
    rows = [row(k, at=float(k), module=f"m{k // 4}", written_s=4.0 * (k // 4) + 5) for k in range(40)]
    group = of(rows)["levels"][0]["groups"][ALL]
    assert (group["file_s"]["count"], group["file_s"]["mean"]) == (10, 5.0)
    assert (group["to_file_s"]["least"], group["to_file_s"]["most"]) == (2.0, 5.0)


def test_different_lines_of_packages_are_found_despite_outliers() -> None:
    rows = closed_loop(300, slopes=(1.0, 1.0, 1.3))
    hung = [row(900 + k, at=1e6 + 1000 * k, latency_s=80.0 + k, tokens=(100, 12 * k), attempts=3) for k in range(12)]
    level = of([*rows, *hung])["levels"][0]
    assert level["lines_differ_without_outliers"]["slopes"]["p"] < 1e-9
    assert level["lines_differ"]["slopes"]["p"] > level["lines_differ_without_outliers"]["slopes"]["p"]
    lines = {name: group["line_without_outliers"]["s_per_token"] for name, group in level["groups"].items()}
    assert lines["torch"] == pytest.approx(1.3 * lines["seaborn"], rel=0.05)


def test_a_single_package_has_no_test_for_differences() -> None:
    level = of([one for one in closed_loop(90) if one.package == "numpy"])["levels"][0]
    assert level["lines_differ"] is None
    reason = "the comparison needs two packages with a regression line; 1 of 1 have one"
    assert level["undefined"]["lines_differ"] == reason


def test_energy_is_divided_by_the_answers_and_undefined_if_unmeasured() -> None:
    rows, levels = closed_loop(20), (LevelFacts("1 at once", joules=50.0),)
    assert of(rows, levels=levels, energy_source="RAPL")["levels"][0]["joules_per_request"] == 2.5
    assert of(rows, levels=levels)["levels"][0]["joules_per_request"] is None


def test_a_run_without_rows_has_no_levels_and_no_costs() -> None:
    content = of([])
    assert (content["levels"], content["outliers"], content["errors"], content["costs"]) == ([], [], [], None)
    assert content["undefined"]["costs"] == "fitting costs needs at least 12 answers of two tokens or more; there are 0"


MAYBE = st.none() | st.floats(0, 10)
ANY = st.builds(
    lambda level, at, latency, ttft, inputs, outputs, error, counts, package, written: row(
        level=level, at=at, latency_s=latency, ttft_s=None if ttft is None else min(ttft, latency),
        tokens=(inputs, outputs), error=error, counts=counts, package=package,
        written_s=None if written is None else at + latency + written,
    ),
    st.sampled_from(["1 at once", "2/s"]), st.floats(0, 100), st.sampled_from([0.0, 1.0, 2.5, 7.0]), MAYBE,
    st.none() | st.integers(0, 5), st.none() | st.integers(0, 5), st.none() | st.just("500"), st.booleans(),
    st.sampled_from(["numpy", "torch"]), MAYBE,
)  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.lists(ANY, max_size=60))
def test_every_undefined_value_has_a_reason(rows: list[RequestRow]) -> None:
    content = of(rows, slo=Slo(1.0, 0.1))
    for level in content["levels"]:
        for part in (level, *level["groups"].values()):
            missing = {key for key, value in part.items() if value is None and key != "window_s"}
            assert missing <= set(part["undefined"])
