"""The report of a load run in a real headless Chromium: it draws all charts, switches levels and loads nothing."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmeval.loadtest.facts import LoadFacts
from swarmeval.loadtest.report import write
from tests.support.browser import NEEDS_CHROMIUM, Page, ReportPage, choose, page, quiet
from tests.support.made_up_load import FACTS, closed_loop, leave, row
from tests.support.pages import HOSTILE

pytestmark = [
    pytest.mark.slow,
    NEEDS_CHROMIUM,
]
LONG = "a_module_whose_name_is_far_longer_than_any_screen_of_a_phone_could_ever_show_at_once." * 3


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything it can show: two levels of three packages, an outlier, hostile and long names."""
    rows = [
        *closed_loop(120, slopes=(1.0, 1.0, 1.4)), *closed_loop(120, clients=4, slowdown=2.0),
        row(900, at=900.0, latency_s=99.0, module=HOSTILE[0]), row(901, at=999.0, latency_s=99.0, module=LONG),
        row(902, at=1100.0, error=LONG), row(903, at=1110.0, error=HOSTILE[1]),
    ]  # fmt: skip
    return write(leave(tmp_path_factory.mktemp("load"), rows, FACTS))


@pytest.fixture
def opened(report: Path, tmp_path: Path) -> Iterator[Page]:
    """The opened report. Fails if the page caused console messages or loaded anything."""
    with quiet(tmp_path / "profile", report, "example/model, served - Swarmeval") as shown:
        yield shown


def count(shown: Page, selector: str) -> int:
    return int(shown.run(f"document.querySelectorAll({selector!r}).length"))


def test_every_chart_is_drawn(opened: Page) -> None:
    assert [count(opened, f"#{place} svg[role=img]") for place in ("curve", "rates", "joint", "lines")] == [1, 1, 1, 1]
    assert count(opened, "#histograms figure") == 4
    assert count(opened, "#histograms .fit") == 2  # of all and of numpy, outliers speak against an exponential
    captions = opened.run("[...document.querySelectorAll('#histograms figcaption')].map(c => c.textContent)")
    assert sum("with an exponential distribution" in caption for caption in captions) == 2
    assert (
        opened.run(
            "[...document.querySelectorAll('#histograms text')].filter(t => t.textContent.startsWith('p90')).length"
        )
        == 4
    )
    assert count(opened, "#joint .l") >= 3
    assert count(opened, "#heat table.correlations") == 8
    assert count(opened, "#heat td[data-r]") == 72
    assert count(opened, "#lines .stem") == 2
    assert count(opened, "svg [d*=NaN], svg [x*=NaN], svg [y*=NaN], svg [cx*=NaN], svg [cy*=NaN]") == 0


def test_a_chosen_level_changes_charts_and_tables(opened: Page) -> None:
    shown = "[...document.querySelectorAll('.level:not([hidden]) h3')].map(h => h.textContent)[0]"
    before = opened.run("document.getElementById('joint').innerHTML")
    assert opened.run(shown) == "1 at once: percentiles"
    choose(opened, "level", "4 at once")
    assert opened.run(shown) == "4 at once: percentiles"
    assert count(opened, ".level:not([hidden])") == 1
    assert opened.run("document.getElementById('joint').innerHTML") != before
    choose(opened, "level", "1 at once")
    assert opened.run("document.getElementById('joint').innerHTML") == before


class TestPage(ReportPage):
    pass


def test_the_printed_page_is_black_on_white_without_controls(report: Path, tmp_path: Path) -> None:
    with page(tmp_path / "profile") as shown:
        shown.open(report, dark=True)
        assert base64.b64decode(shown.call("Page.printToPDF")["data"]).startswith(b"%PDF")
        shown.call("Emulation.setEmulatedMedia", media="print")
        assert shown.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert shown.run("getComputedStyle(document.querySelector('.tools')).display") == "none"
        a4 = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # without margins
        shown.call("Emulation.setDeviceMetricsOverride", **a4)
        assert shown.run("[...document.querySelectorAll('.level:not([hidden]) table')].every("
                         "t => t.getBoundingClientRect().right <= innerWidth)") is True  # fmt: skip


def test_an_almost_empty_run_is_drawn_without_errors(tmp_path: Path) -> None:
    few = [
        [], [row()], [row(error="500")], [row(k, at=2.0 * k) for k in range(40)],
        [row(k, at=2.0 * k, ttft_s=None, tokens=(None, None)) for k in range(40)],
    ]  # fmt: skip
    for number, rows in enumerate(few):
        with page(tmp_path / f"profile{number}") as shown:
            shown.open(write(leave(tmp_path / str(number), rows, LoadFacts(finished=True))))
            assert shown.complaints == []
            assert count(shown, "svg [d*=NaN], svg [x*=NaN], svg [y*=NaN], svg [cx*=NaN], svg [cy*=NaN]") == 0
