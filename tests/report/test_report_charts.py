"""The charts of a report: events in words, fits only if the data support them, and no overlapping labels."""

import json
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from swarmeval.records import Completion, Outcome, Verdict
from swarmeval.report.run_report import render, write
from tests.support.browser import NEEDS_CHROMIUM, OVERPRINTED, ReportPage, page
from tests.support.pages import visible_text
from tests.support.run_folders import BEGAN, Answer, leave, plan_of

KINDS = ("loaded", "out_of_memory", "restarted", "retired", "paused", "memory")


def run_that_took(folder: Path, agents: int, latency_s: Callable[[int], float], tokens: Callable[[int], int]) -> Path:
    """A run of ten tasks with the latency and tokens of each answer given by its number."""
    config, plan = plan_of(10, agents)

    def answers() -> Iterator[Answer]:
        for k in range(plan.total):
            job_id = plan.job(k).job_id
            yield (
                Completion(job_id, "r", prompt_tokens=30, output_tokens=tokens(k), latency_s=latency_s(k),
                           finished_at=BEGAN + k + latency_s(k), elapsed_s=k + latency_s(k)),
                Verdict(job_id, Outcome.PASSED if k % 2 else Outcome.RAISED, "    return 1\n"),
            )  # fmt: skip

    leave(folder, config, plan, answers())
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with large numbers on every axis, close latencies, and many nearly simultaneous events."""
    folder = run_that_took(
        tmp_path_factory.mktemp("charts") / "run", 12, lambda k: 1000 + 0.01 * (k % 40), lambda k: 300_000 + k
    )
    rows = [["time", "cpu_pct", "ram_used_mb", "rapl_j"]]
    for second in range(100):
        at = datetime.fromtimestamp(BEGAN + 1000 + second, UTC).isoformat(timespec="milliseconds")
        rows.append([at, str(second), str(9e8 + second), str(123_456 * second)])
    (folder / "resource_trace.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    events = [
        {"time": BEGAN + 1000 + at, "kind": kind, "device": f"cuda:{k}", "text": "a reason"}
        for k, kind in enumerate(KINDS)
        for at in (0.1 * k, 50 + 0.2 * k, 118 + 0.1 * k)
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return write(folder)


def test_budget_curves_have_a_section_and_their_data(tmp_path: Path) -> None:
    page = render(run_that_took(tmp_path / "run", 2, lambda k: 1.0 + k, lambda k: 10 + 20 * k))
    said = visible_text(page)
    assert "The curve is a lower bound on the score of a run with that limit" in said
    (data,) = re.findall(r'id="data"[^>]*>(.*?)</script>', page)
    tokens, seconds = json.loads(data)["budgets"]
    assert (tokens["name"], tokens["unit"], seconds["name"], seconds["unit"]) == (
        "output tokens",
        "tokens",
        "seconds",
        "s",
    )
    assert seconds["points"][0][0] == 1.0
    assert seconds["points"][-1][1] == 0.5
    assert "Budgets" not in visible_text(render(run_that_took(tmp_path / "none", 2, lambda k: 0.0, lambda k: 0)))


@pytest.mark.slow
@NEEDS_CHROMIUM
class TestPage(ReportPage):
    pass


@pytest.mark.slow
@NEEDS_CHROMIUM
def test_events_have_words_in_every_panel(report: Path, tmp_path: Path) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report)
        assert shown.run("document.querySelectorAll('#panels figure').length") == 5
        written = shown.run("[...document.querySelectorAll('#panels svg')].map(chart => [...chart.querySelectorAll("
                            "'text.movable:not([visibility])')].map(label => label.textContent))")  # fmt: skip
        assert all({"loaded", "out of memory"} <= set(words) for words in written)
        titles = shown.run("[...document.querySelectorAll('#panels .event title')].map(title => title.textContent)")
        assert titles[1] == "out of memory cuda:1: a reason"
        assert len(titles) == 5 * 3 * len(KINDS)
    assert "out of memory cuda:1 a reason" in visible_text(report.read_text(encoding="utf-8"))


@pytest.mark.slow
@NEEDS_CHROMIUM
def test_labels_settle_again_when_the_screen_becomes_narrow(report: Path, tmp_path: Path) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report)
        moved = "[...document.querySelectorAll('svg text[transform]')].map(t => t.getAttribute('transform')).join()"
        before = shown.run(moved)
        shown.call("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=True)
        shown.until(f"{moved} !== {before!r}")
        assert shown.run(OVERPRINTED) == []


def drawn(folder: Path) -> tuple[bool, bool, str]:
    """(whether the distribution is drawn, whether the regression is drawn, the page's text)."""
    text = render(folder)
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])["latency"]
    return data["mean"] is not None, data["line"] is not None, visible_text(text)


def test_a_handful_of_answers_is_fitted_by_nothing(tmp_path: Path) -> None:
    *both, said = drawn(run_that_took(tmp_path, 1, lambda k: 1.0 + k, lambda k: 10 + 10 * k))
    assert both == [False, False]
    assert "Too few answers for a distribution fit or a regression: 10, of at least 20 needed." in said
    assert "Kolmogorov" not in said
    assert "Correlation" not in said


def test_a_line_is_drawn_only_through_latencies_that_follow_the_tokens(tmp_path: Path) -> None:
    chance = random.Random(5)
    noise = [chance.random() for _ in range(200)]
    *both, said = drawn(run_that_took(tmp_path / "one", 20, lambda k: 1 + 0.1 * (k % 20), lambda k: 10 + k % 20))
    assert both == [False, True]
    assert "Regression: latency =" in said
    assert "latencies are not exponentially distributed, so the curve is not drawn" in said
    *both, said = drawn(run_that_took(tmp_path / "two", 20, lambda k: 1 + noise[k], lambda k: 10 + k % 20))
    assert both == [False, False]
    assert "No regression: the number of tokens explains too little of the variance in latency (R² = 0.0" in said


def test_an_exponential_is_drawn_where_nothing_speaks_against_it(tmp_path: Path) -> None:
    chance = random.Random(5)
    waits = [chance.expovariate(0.5) for _ in range(200)]
    exponential, _, said = drawn(run_that_took(tmp_path, 20, lambda k: waits[k], lambda k: 10 + k % 7))
    assert exponential
    assert "Latency distribution, with an exponential distribution of the same mean" in said
