"""Settings in sections: dotted keys set them, and errors in them are reported like any others."""

from pathlib import Path

import pytest

from swarmeval.errors import ConfigError
from swarmeval.settings.loading import load, parse_set


def test_sections_of_file_and_command_line_are_laid_over_each_other(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("wandb:\n  mode: offline\n  tags: [a]\nmonitor: {interval_s: 2}\n")
    config = load(path, parse_set(["wandb.tags=[b]", "wandb.project=mine", "monitor={idle_baseline_s: 0}"]))
    assert (config.wandb.mode, config.wandb.tags, config.wandb.project) == ("offline", ("b",), "mine")
    assert (config.monitor.interval_s, config.monitor.idle_baseline_s) == (1.0, 0)  # other keys are reset
    assert config.is_set("wandb.project")
    assert not config.is_set("wandb.entity")


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("endpoint.timeout_s: 3\n", [], "{path}: endpoint.timeout_s: in a file, write timeout_s under endpoint:"),
        ("wandb: offline\n", ["wandb.mode=online"],
         "{path}: wandb is now wandb.mode; in a file, write wandb: {mode: ...}"),
        ("wandb: {mode: off}\n", ["wandb=online"],
         "command line: wandb is now wandb.mode; in a file, write wandb: {mode: ...}"),
        ("ray: 3\n", ["ray.address=a"], "{path}: ray is a section; set its keys, for example ray.address"),
        ("monitor: {interval_s: 0}\n", ["monitor.idle_baseline_s=1"],
         "{path}: monitor.interval_s is 0; it should be greater than or equal to 0.05"),
        ("monitor: {interval_s: 1}\n", ["monitor.interval_s=0"],
         "command line: monitor.interval_s is 0; it should be greater than or equal to 0.05"),
        ("monitor: {3: 1}\n", [], "{path}: monitor.3: a key must be a word"),
        ("batch_size: 0\nendpoint: {urls: [3]}\n", [],
         "{path}: batch_size is 0; it should be greater than or equal to 1"),
    ],
)  # fmt: skip
def test_a_fault_in_a_section_names_its_file_or_the_command_line(
    tmp_path: Path, text: str, words: list[str], message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, parse_set(words))
    assert str(caught.value) == message.replace("{path}", str(path))


@pytest.mark.parametrize("words", [["wandb={mode: off}", "wandb.mode=off"], ["wandb.mode=off", "wandb={mode: off}"]])
def test_a_section_and_a_key_of_it_are_not_set_by_the_same_command(words: list[str]) -> None:
    first, second = (word.partition("=")[0] for word in words)
    with pytest.raises(ConfigError) as caught:
        parse_set(words)
    assert str(caught.value) == f"--set {first} and --set {second} are both given; keep one of them"
