"""A run folder of an earlier version is shown, compared and resumed like a current one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmeval.runs import folder
from swarmeval.runs.folder import read_manifest
from swarmeval.settings.run_config import RunConfig
from tests.support.older_settings import flat_as_of_old, in_sections_as_of_old


def left(place: Path, config: RunConfig, manifest: Mapping[str, Any]) -> None:
    text = json.dumps({"run_id": "r", "sessions": [], "finished": False, "config": flat_as_of_old(config), **manifest})
    (place / "manifest.json").write_text(text)


DATA = {"sha256": "abc", "tasks": 3}
SANDBOXED = RunConfig.model_validate({"num_agents": 3, "device": "cpu"})


@pytest.mark.parametrize(
    ("now", "resumed"),
    [
        ({}, True),
        ({"workers": {"max_in_flight": 7}, "audit": {"jobs": 2}}, True),
        ({"seed": 1}, False),
        ({"sandbox": {"mode": "none"}}, False),
    ],
)
def test_an_unfinished_run_of_the_previous_version_goes_on(
    tmp_path: Path, now: dict[str, object], resumed: bool
) -> None:
    left(tmp_path, SANDBOXED, {"fingerprint": "of old", "data": DATA})
    config = RunConfig.model_validate({"num_agents": 3, "device": "cpu", **now})
    mark = folder.fingerprint({**config.measured(), "data": DATA})
    assert folder.open_run(tmp_path, mark, fresh=False)[1] is resumed


@pytest.mark.parametrize(("cache", "resumed"), [("off", True), ("auto", False)])
def test_an_unfinished_run_with_a_renamed_key_in_a_section_goes_on(tmp_path: Path, cache: str, resumed: bool) -> None:
    config = RunConfig.model_validate({"device": "cpu", "replica": {"weight_cache": "off"}})
    text = json.dumps({"run_id": "r", "sessions": [], "finished": False, "config": in_sections_as_of_old(config),
                       "fingerprint": "of old", "data": DATA})  # fmt: skip
    (tmp_path / "manifest.json").write_text(text)
    assert '"cpu_kernel": "bnb"' in text
    now = RunConfig.model_validate({"device": "cpu", "replica": {"weight_cache": cache}})
    mark = folder.fingerprint({**now.measured(), "data": DATA})
    assert folder.open_run(tmp_path, mark, fresh=False)[1] is resumed


@pytest.mark.parametrize(("weights", "resumed"), [(None, True), ("nf4", False), ("bf16", False)])
def test_an_unfinished_run_from_before_a_key_was_added_goes_on(
    tmp_path: Path, weights: str | None, resumed: bool
) -> None:
    written = SANDBOXED.model_dump(mode="json", exclude={"wandb": {"api_key"}, "weights": True})
    manifest = {"run_id": "r", "sessions": [], "finished": False, "config": written, "fingerprint": "of old"}
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "data": DATA}))
    now = RunConfig.model_validate({"num_agents": 3, "device": "cpu", "weights": weights})
    mark = folder.fingerprint({**now.measured(), "data": DATA})
    assert folder.open_run(tmp_path, mark, fresh=False)[1] is resumed


def test_what_a_manifest_says_besides_does_not_hinder_a_resume(tmp_path: Path) -> None:
    """The licence is recorded only; adapters are a part of what is measured."""
    adapters = {"tuned": {"sha256": "def"}}
    config = RunConfig.model_validate({"device": "cpu", "adapters": {"tuned": "folder"}})
    left(tmp_path, config, {"fingerprint": "of old", "data": {**DATA, "licence": "MIT"}, "adapters": adapters})
    mark = folder.fingerprint({**config.measured(), "data": DATA, "adapters": adapters})
    assert folder.open_run(tmp_path, mark, fresh=False)[1]


def test_unfinished_judging_of_the_previous_version_goes_on(tmp_path: Path) -> None:
    left(tmp_path, SANDBOXED, {"fingerprint": "of old", "data": DATA, "replies": {"path": "f", "sha256": "def"}})
    mark = folder.fingerprint({**SANDBOXED.judged(), "data": DATA, "replies": "def"})
    assert folder.open_run(tmp_path, mark, fresh=False)[1]


def test_settings_of_old_that_cannot_be_obeyed_any_more_can_still_be_shown(tmp_path: Path) -> None:
    left(tmp_path, SANDBOXED, {"fingerprint": "of old", "data": DATA})
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"humaneval"', "3"))
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["fingerprint"] == "of old"
    assert manifest["config"]["sandbox"] == {"mode": "auto"}
