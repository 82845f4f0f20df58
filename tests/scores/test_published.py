"""Published scores: each has a source, models are found by name, and runs are compared with the published settings."""

from collections.abc import Mapping

import pytest

from swarmeval.scores.published import Published, compare_with, entries, published
from swarmeval.settings.run_config import RunConfig

TASKS = {"humaneval": 164, "humaneval_plus": 164, "mbpp": 500, "mbpp_plus": 378}
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
GREEDY = Published(
    "owner/model", "humaneval", 0.5, "chat", {"do_sample": False, "num_samples": 1}, "a harness", "a paper"
)


def test_every_entry_says_what_was_measured_and_where_it_is_written() -> None:
    for entry in entries():
        assert entry.source.strip()
        assert entry.harness.strip()
        assert 0 < entry.pass_at_1 < 1, entry
        assert entry.benchmark in TASKS
        assert entry.mode in {"chat", "completion", None}
        assert entry.model.count("/") == 1


def test_settings_of_an_entry_are_keys_and_values_of_a_run() -> None:
    for entry in entries():
        assert entry.settings.keys() <= RunConfig.model_fields.keys()
        RunConfig.model_validate(dict(entry.settings))


def test_no_score_is_twice_in_the_table() -> None:
    keys = [(entry.model, entry.benchmark, entry.harness, entry.source) for entry in entries()]
    assert len(keys) == len(set(keys))


def test_a_score_of_one_answer_a_task_is_a_whole_number_of_tasks() -> None:
    """Catches wrong digits: scores are published to 0.1 %, and one task makes a larger difference."""
    for entry in entries():
        if entry.settings.get("num_samples") == 1:
            tasks = TASKS[entry.benchmark]
            assert abs(round(entry.pass_at_1 * tasks) / tasks - entry.pass_at_1) < 0.0006, entry


@pytest.mark.parametrize(
    "asked",
    [LLAMA, "META-LLAMA/llama-3.1-8b-instruct", "Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B-Instruct",
     "meta-llama-3.1-8b-instruct"],
)  # fmt: skip
def test_a_model_is_found_in_any_case_without_owner_and_by_other_names(asked: str) -> None:
    found = published(asked, "humaneval")
    assert found == published(LLAMA, "humaneval")
    assert {entry.model for entry in found} == {LLAMA}
    assert [entry.pass_at_1 for entry in found] == [0.726, 0.695, 0.683]


def test_every_entry_is_found_under_its_own_name() -> None:
    for entry in entries():
        assert entry in published(entry.model, entry.benchmark)


@pytest.mark.parametrize("asked", ["embedded", "example/Llama-3.1-8B-Instruct", "Llama-3.1-8B", "", "/", "meta-llama"])
def test_another_model_is_not_taken_for_one_of_the_table(asked: str) -> None:
    assert published(asked, "humaneval") == ()


def test_a_score_counts_for_its_own_benchmark_only() -> None:
    assert [entry.pass_at_1 for entry in published(LLAMA, "mbpp_plus")] == [0.556]
    assert published(LLAMA, "mbpp") == ()


def test_a_run_is_held_against_a_score_with_the_settings_that_differ() -> None:
    config = {"do_sample": True, "num_samples": 1, "temperature": 0.25}
    assert compare_with(GREEDY, 0.75, (0.45, 0.9), config, "completion") == {
        "pass@1": 0.5,
        "harness": "a harness",
        "source": "a paper",
        "difference": 0.25,
        "within_interval": True,
        "differs": {"mode": ["completion", "chat"], "do_sample": [True, False]},
    }


@pytest.mark.parametrize(("interval", "inside"), [((0.5, 0.6), True), ((0.4, 0.5), True), ((0.51, 0.6), False)])
def test_a_score_at_the_end_of_the_interval_is_within_it(interval: tuple[float, float], inside: bool) -> None:
    assert compare_with(GREEDY, 0.5, interval, {}, "chat")["within_interval"] is inside


@pytest.mark.parametrize(
    ("config", "differs"),
    [({"do_sample": False, "num_samples": 1.0}, {}), ({"num_samples": 1}, {"do_sample": [None, False]})],
)
def test_what_is_alike_does_not_differ_and_what_a_run_does_not_say_does(
    config: Mapping[str, object], differs: Mapping[str, object]
) -> None:
    assert compare_with(GREEDY, 0.5, (0.4, 0.6), config, "chat")["differs"] == differs


def test_what_the_source_leaves_open_does_not_differ() -> None:
    entry = Published("owner/model", "humaneval", 0.5, None, {}, "a harness", "a paper")
    assert compare_with(entry, 0.4, (0.3, 0.5), {"temperature": 0.25}, "chat")["differs"] == {}
