"""Letters and colours of outcomes: they can be distinguished without seeing hues."""

import pytest

from swarmeval.records import NOT_GENERATED, Outcome
from swarmeval.report.run_report import STYLES
from swarmeval.watch.outcome_letters import LETTERS
from tests.support.report_pages import colours_in, contrast

CSS = STYLES[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_passed_and_wrong_differ_without_any_hue(theme: str) -> None:
    colours = colours_in(CSS, theme)
    assert contrast(colours["o0"], colours["o1"]) >= 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_letter_can_be_read_on_its_colour(theme: str) -> None:
    colours = colours_in(CSS, theme)
    grounds = [*(f"o{k}" for k in range(len(LETTERS))), "repaired", *(f"s{k}" for k in range(4))]
    assert {name: contrast(colours[name], colours[f"{name}-ink"]) >= 4.5 for name in grounds} == dict.fromkeys(
        grounds, True
    )


def test_every_outcome_has_a_letter_of_its_own() -> None:
    assert set(LETTERS) == {*Outcome, NOT_GENERATED}
    assert len(set(LETTERS.values())) == len(LETTERS)
