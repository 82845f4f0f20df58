"""Outliers: planted ones are found, each with the reason that its row shows."""

import random
from typing import Any

import pytest

from swarmeval.loadtest import outliers
from swarmeval.loadtest.outliers import UNKNOWN
from swarmeval.loadtest.request_rows import CONSTANTS, RequestRow
from tests.support.made_up_load import row

LATE: dict[str, Any] = {"latency_s": 60.0}


def usual(number: int = 60) -> list[RequestRow]:
    """Requests within all fences: about 1 s, 100 input tokens, 40 output tokens."""
    chance = random.Random(3)
    tokens = [(chance.randint(90, 110), chance.randint(35, 45)) for _ in range(number)]
    return [row(k, at=2.0 * k, latency_s=chance.uniform(0.9, 1.1), tokens=both) for k, both in enumerate(tokens)]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (LATE, UNKNOWN),
        ({**LATE, "error": "500: no room"}, "failed: 500: no room"),
        ({**LATE, "attempts": 4}, "sent 4 times"),
        ({**LATE, "counts": False}, "in the warm-up"),
        ({**LATE, "kind": CONSTANTS, "functions": 0}, "constants only"),
        ({**LATE, "functions": 25}, "many small functions (25)"),
        ({**LATE, "tokens": (4000, 40)}, "very long input (4,000 tokens)"),
        ({**LATE, "tokens": (100, 900)}, "long answer (900 tokens)"),
        ({**LATE, "ttft_s": 55.0}, "waited 55 s for its first token"),
    ],
)
def test_a_slow_request_is_listed_with_the_reason_from_its_row(odd: dict[str, Any], reason: str) -> None:
    (outlier,) = outliers.requests([*usual(), row(99, at=500.0, **odd)])
    assert (outlier["number"], outlier["latency_s"], outlier["how"]) == (99, 60.0, "latency")
    assert outlier["reasons"] == [reason]


def test_all_reasons_are_listed_and_the_most_extreme_comes_first() -> None:
    entries = outliers.requests([*usual(), row(98, **LATE), row(99, latency_s=90.0, attempts=2, tokens=(4000, 900))])
    assert [one["number"] for one in entries] == [99, 98]
    assert entries[0]["reasons"] == ["sent 2 times", "very long input (4,000 tokens)", "long answer (900 tokens)"]


def test_a_request_that_was_sent_late_says_so() -> None:
    late = row(99, at=0.0, latency_s=60.0)
    asked = type(late.request)(99, 0.0, 50.0, 50.1, 60.0, 100, 40, None, True)
    (outlier,) = outliers.requests([*usual(), RequestRow("1 at once", asked, "numpy", "numpy.core", "f")])
    assert outlier["reasons"] == ["sent 50 s late"]


def test_a_request_far_from_its_line_is_found_though_its_latency_is_common() -> None:
    chance = random.Random(4)
    lined = [row(k, latency_s=0.02 * tokens * chance.uniform(0.98, 1.02), tokens=(100, tokens))
             for k, tokens in enumerate(chance.randint(10, 400) for _ in range(80))]  # fmt: skip
    entries = outliers.requests(
        [*lined, row(98, latency_s=4.0, tokens=(100, 20)), row(99, latency_s=0.5, tokens=(100, 380))]
    )
    assert {one["number"]: one["how"] for one in entries} == {98: "above its line", 99: "below its line"}


def test_exponential_latencies_are_rarely_called_outliers() -> None:
    """0.9 % of an exponential lies more than three interquartile ranges above the upper quartile."""
    chance = random.Random(5)
    rows = [row(k, latency_s=chance.expovariate(1.0), tokens=(100, None)) for k in range(4000)]
    assert len(outliers.requests(rows)) == pytest.approx(37, abs=20)


def test_requests_are_compared_within_their_package_and_level_only() -> None:
    slow = [row(k, latency_s=50 + 0.1 * k, package="torch", tokens=(100, 40 + k)) for k in range(30)]
    assert outliers.requests([*usual(), *slow]) == []
    assert outliers.requests([*usual(11)[:11], row(99, **LATE, package="seaborn")]) == []


def files(number: int = 20) -> list[RequestRow]:
    """Test files of three requests each, about 3 s per file."""
    return [row(3 * k + j, at=10.0 * k + j, latency_s=1.0 + 0.01 * k, module=f"m{k}", written_s=10.0 * k + 3 + 0.01 * k,
                tokens=(100, 30 + k)) for k in range(number) for j in range(3)]  # fmt: skip


def test_a_test_file_of_many_small_functions_is_named() -> None:
    many = [
        row(500 + j, at=900.0 + j, latency_s=1.0, module="many", written_s=930.0, tokens=(60, 8)) for j in range(30)
    ]
    (outlier,) = outliers.files([*files(), *many])
    assert (outlier["module"], outlier["seconds"], outlier["requests"]) == ("many", 30.0, 30)
    assert outlier["reasons"] == ["many small functions (30, median 8 output tokens)"]


def test_a_test_file_names_constants_retries_long_answers_and_waits() -> None:
    def one(**odd: Any) -> list[str]:
        rows = [row(500, at=900.0, module="odd", written_s=990.0, **{"latency_s": 80.0, **odd})]
        (outlier,) = outliers.files([*files(), *rows])
        reasons: list[str] = outlier["reasons"]
        return reasons

    assert one(kind=CONSTANTS) == ["constants only"]
    assert one(attempts=2) == ["1 of its requests sent again"]
    assert one(error="hang") == ["1 of its requests failed"]
    assert one(tokens=(100, 5000)) == ["a long answer (5,000 tokens)"]
    assert one() == [UNKNOWN]
    apart = [row(500 + j, at=900.0 + 40 * j, latency_s=1.0, module="odd", written_s=990.0) for j in range(3)]
    assert outliers.files([*files(), *apart])[0]["reasons"] == ["waited 78 s between its requests"]
