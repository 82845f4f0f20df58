"""Fitted costs of a request without contention, checked on requests generated with known costs."""

import random
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.loadtest import ideal_runtime
from swarmeval.loadtest.request_rows import RequestRow
from tests.support.made_up_load import FIXED_S, INPUT_S, OUTPUT_S, closed_loop, row


def per_token_costs(costs: ideal_runtime.Costs) -> list[float]:
    """The three costs; the one per input token must be defined."""
    assert costs.per_input_token_s is not None
    return [costs.fixed_s, costs.per_input_token_s, costs.per_output_token_s]


def test_costs_are_recovered_from_generated_requests() -> None:
    costs = ideal_runtime.costs([closed_loop(90, noise=0.0)])
    assert per_token_costs(costs) == pytest.approx([FIXED_S, INPUT_S, OUTPUT_S])
    assert (costs.requests, costs.streamed) == (89, True)
    assert costs.others == pytest.approx(0, abs=1e-9)
    assert costs.r_squared == pytest.approx(1)


def test_without_streaming_the_total_time_gives_the_same_costs() -> None:
    rows = [
        row(one.request.number, at=one.request.sent_s, latency_s=one.request.latency_s, ttft_s=None,
            tokens=(one.request.input_tokens, one.request.output_tokens))
        for one in closed_loop(90, noise=0.0)
    ]  # fmt: skip
    costs = ideal_runtime.costs([rows])
    assert not costs.streamed
    assert per_token_costs(costs) == pytest.approx([FIXED_S, INPUT_S, OUTPUT_S])


def test_contention_at_other_levels_affects_their_factor_not_the_costs() -> None:
    alone, crowded = closed_loop(60, noise=0.02), closed_loop(160, clients=8, slowdown=3.0, noise=0.02)
    costs = ideal_runtime.costs([crowded, alone])
    assert costs.others < 0.01
    assert costs.per_output_token_s == pytest.approx(OUTPUT_S, rel=0.02)
    said = ideal_runtime.idealized(crowded, costs)
    assert said["contention_factor"] == pytest.approx(3.0, rel=0.03)
    assert ideal_runtime.idealized(alone, costs)["contention_factor"] == pytest.approx(1.0, rel=0.03)
    assert said["raw_mean_s"] == pytest.approx(3 * said["idealized_mean_s"], rel=0.03)


def test_requests_that_hung_do_not_affect_the_costs() -> None:
    rows = closed_loop(60, noise=0.02)
    hung = [row(100 + k, at=1e6 + 1000 * k, latency_s=60.0 + k, tokens=(100, 50)) for k in range(6)]
    costs = ideal_runtime.costs([[*rows, *hung]])
    assert costs.per_output_token_s == pytest.approx(OUTPUT_S, rel=0.02)
    assert costs.requests <= 59


def test_costs_name_the_concurrency_if_no_request_was_alone() -> None:
    costs = ideal_runtime.costs([closed_loop(80, clients=4)])
    assert costs.requests == ideal_runtime.ENOUGH
    assert costs.others > 1


def test_retried_failed_and_warm_up_requests_do_not_affect_the_costs() -> None:
    sound = closed_loop(40, noise=0.0)
    spoilt = [
        row(100 + k, at=1e6 + 100 * k, latency_s=50.0, error="429" if k % 3 == 0 else None, counts=k % 3 != 1,
            attempts=3 if k % 3 == 2 else 1)
        for k in range(30)
    ]  # fmt: skip
    assert ideal_runtime.costs([sound + spoilt]).per_output_token_s == pytest.approx(OUTPUT_S)


def test_prompts_of_one_length_leave_the_cost_of_a_prompt_token_undefined() -> None:
    rows = [row(k, at=10.0 * k, tokens=(100, 10 + k), ttft_s=0.2, latency_s=0.2 + 0.01 * (9 + k)) for k in range(20)]
    costs = ideal_runtime.costs([rows])
    assert costs.per_input_token_s is None
    assert costs.fixed_s == pytest.approx(0.2)
    assert costs.seconds(rows[0]) == pytest.approx(rows[0].request.latency_s)


def test_costs_of_too_few_requests_are_undefined() -> None:
    with pytest.raises(
        ValueError, match=r"^fitting costs needs at least 12 answers of two tokens or more; there are 0$"
    ):
        ideal_runtime.costs([[row(k, tokens=(None, None)) for k in range(50)], []])
    costs = ideal_runtime.costs([closed_loop(30)])
    with pytest.raises(ValueError, match=r"^no answer reported its input and output tokens$"):
        ideal_runtime.idealized([row(tokens=(10, None))], costs)


SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), min_size=1, max_size=15)


@settings(deadline=None)
@given(SPANS)
def test_concurrent_requests_are_those_that_brute_force_counts(spans: list[tuple[int, int]]) -> None:
    rows = [row(k, at=float(at), latency_s=float(length)) for k, (at, length) in enumerate(spans)]

    def brute(one: RequestRow) -> float:
        begin, end = one.request.sent_s, one.request.last_s
        if begin == end:
            return 0.0
        shared = [max(0.0, min(end, other.request.last_s) - max(begin, other.request.sent_s)) for other in rows]
        return sum(shared) / (end - begin) - 1

    assert ideal_runtime.concurrent_requests(rows) == pytest.approx([brute(one) for one in rows], abs=1e-9)


def test_in_a_closed_loop_all_other_clients_are_concurrent() -> None:
    chance = random.Random(1)
    times = [sorted(chance.uniform(0, 100) for _ in range(30)) for _ in range(5)]
    rows = [row(at=begin, latency_s=end - begin) for client in times for begin, end in pairwise([0.0, *client, 100.0])]
    assert fmean(ideal_runtime.concurrent_requests(rows)) == pytest.approx(4)
