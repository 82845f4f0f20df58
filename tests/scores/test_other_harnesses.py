"""The files of `score --extractors`, and how the report shows them."""

import json
import re
from pathlib import Path

import pytest

from swarmeval.errors import DataError
from swarmeval.report.run_report import render
from swarmeval.scores.other_harnesses import NAME, UnderRule, read, tasks_of, under_rule, write
from tests.support.pages import visible_text
from tests.support.run_folders import answers, finished_run, leave, plan_of

REPLIES = [f"0/HumanEval/{task}/{sample}/0" for task in range(4) for sample in range(2)]
OURS = under_rule("ours", REPLIES, frozenset(REPLIES[:6]))
OTHER = under_rule("lm-eval", REPLIES, frozenset(REPLIES[4:7]))
HEAD = "The same replies under other harnesses' rules"


def test_a_comparison_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    write(tmp_path, [OURS, OTHER])
    assert read(tmp_path) == [OURS, OTHER]
    assert (OURS.replies, OURS.pass_at_1, OTHER.pass_at_1) == (8, 0.75, 0.375)


def test_the_interval_of_a_rule_is_over_tasks_and_holds_its_score() -> None:
    for rule in (OURS, OTHER):
        assert rule.interval is not None
        low, high = rule.interval
        assert 0 <= low < rule.pass_at_1 < high <= 1


def test_a_report_sets_the_rules_beside_ours(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, answers(("a", "b")))
    assert HEAD not in visible_text(render(folder))
    write(folder, [OURS, OTHER, UnderRule("<i>", 8, 0.75, None, OURS.passed)])
    page = render(folder)
    said = visible_text(page)
    assert f"{HEAD} rule passes pass@1 95 % CI different verdicts tasks ours 6 of 8 75.0 %" in said
    assert re.search(
        r"lm-eval 3 of 8 37\.5 % [\d.]+ to [\d.]+ % 5 loses 4: HumanEval/0, HumanEval/1; finds 1: HumanEval/3 ", said
    )
    assert "&lt;i&gt; 6 of 8 75.0 % 0 Each rule extracts" in said
    assert "<i>" not in page


def test_a_file_without_a_count_of_replies_is_shown_without_one(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, answers())
    rules = {"ours": {"pass@1": 0.5, "passed": REPLIES[:2]}, "bigcode": {"pass@1": 0.0, "passed": []}}
    (folder / NAME).write_text(json.dumps(rules))
    assert "ours 2 50.0 % bigcode 0 0.0 % 2 loses 2: HumanEval/0 Each rule" in visible_text(render(folder))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "'list' object has no attribute 'items'"),
        ('{"ours": {"passed": []}}', "'pass@1'"),
        ('{"ours": {"pass@1": 0.5, "passed": ["one"]}}', "not enough values to unpack (expected 3, got 1)"),
    ],
)
def test_an_invalid_comparison_is_reported_with_its_file(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / NAME).write_text(text)
    told = f"{tmp_path / NAME}: not a valid comparison of rules ({why}); move the file away"
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        read(tmp_path)


def test_a_run_whose_comparison_was_interrupted_says_so(tmp_path: Path) -> None:
    config, plan = plan_of(1, 2)
    leave(tmp_path, config, plan, answers(("a", "b")))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "finished": False}))
    told = "partial All answers were judged, but the comparison with other rules is not finished."
    assert told in visible_text(render(tmp_path))


def test_more_tasks_than_a_line_holds_are_counted() -> None:
    told = "HumanEval/0, HumanEval/1, HumanEval/2, HumanEval/3, HumanEval/4, HumanEval/5, and 3 more tasks"
    assert tasks_of([f"0/HumanEval/{task}/0/0" for task in range(9)]) == told
