"""The claims of a load report follow from its requests; too few or too unusual requests give no claim."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from swarmeval.loadtest.facts import LoadFacts
from swarmeval.loadtest.law import law
from swarmeval.loadtest.report import write
from swarmeval.loadtest.report_tables import laws
from swarmeval.loadtest.report_words import costs, no_outliers
from tests.support.made_up_load import closed_loop, leave, row
from tests.support.pages import visible_text

ALONE = "these costs include contention"


def of(*rows: Any) -> dict[str, Any]:
    return law([one for group in rows for one in group], LoadFacts())


@pytest.mark.parametrize(
    ("alone", "words"),
    [(0, "None of these ran alone, "), (6, "Only [1-9] of these ran alone, "), (15, ""), (40, "")],
)
def test_requests_that_ran_alone_are_not_denied(alone: int, words: str) -> None:
    told = costs(of(closed_loop(alone), closed_loop(60, 4)))
    assert (ALONE in told) is bool(words)
    assert re.search(words, told)


def test_a_fit_that_explains_nothing_gives_no_contention_factor(tmp_path: Path) -> None:
    chance = random.Random(2)
    rows = [
        row(k, at=9.0 * k, latency_s=chance.uniform(1, 8), ttft_s=0.5, tokens=(chance.randint(9, 99), 2 + k % 5))
        for k in range(40)
    ]
    found = of(rows)
    whole = next(iter(found["levels"][0]["groups"].values()))
    assert whole["idealized"] is None
    reason = whole["undefined"]["idealized"]
    assert reason.startswith("the fitted costs explain too little of the latencies (R² ")
    assert f"The idealized runtime and the contention factor are undefined: {reason}." in costs(found)
    assert reason in visible_text(write(leave(tmp_path, rows)).read_text(encoding="utf-8"))


def test_outliers_that_nobody_could_look_for_are_not_said_to_be_absent() -> None:
    few = [row(k, at=2.0 * k) for k in range(5)]
    many = [row(k, at=2.0 * k, package="torch") for k in range(12)]
    none = "None: no request took far longer than the others of its package and level."
    assert no_outliers(of(few)) == "Not determined: this needs at least 12 answers per package and level."
    assert no_outliers(of(many)) == none
    assert no_outliers(of(few, many)) == f"{none} 1 of 2 groups were skipped: fewer than 12 answers."


def test_families_that_fit_as_well_share_the_first_place() -> None:
    chance = random.Random(4)
    few = [row(k, at=9.0 * k, latency_s=chance.gammavariate(4, 1)) for k in range(12)]
    many = [row(k, at=99.0 * k, latency_s=chance.lognormvariate(1, 1.2)) for k in range(400)]
    assert " or " in laws(of(few)["levels"][0])[0]["best"]
    assert laws(of(many)["levels"][0])[0]["best"] == "lognormal"
