"""The choice of a fleet for a config, and scripts that no fleet can run."""

import hashlib
from pathlib import Path

import pytest

from swarmeval.errors import ConfigError, ModelUnavailable
from swarmeval.session import fleet_choice
from swarmeval.settings.run_config import RunConfig
from tests.support.adapter_folder import written


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"row": 2}', "Object contains unknown field `row`"),
        ('{"faults": [{"kind": "burn"}]}', "Invalid enum value 'burn' - at `$.faults[0].kind`"),
        ("{", "Input data was truncated"),
    ],
)
def test_a_file_that_is_no_script_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        fleet_choice.choose(RunConfig(engine="scripted", model_id=str(path)))
    assert str(caught.value) == f"{path}: not a valid script for engine: scripted ({reason})"


def test_a_replica_knows_the_longest_prompt_and_whether_code_may_run() -> None:
    config = RunConfig(trust_remote_code=True)
    found = fleet_choice.replica(config, "model", "cuda:0", most_prompt_tokens=700)
    assert (found.most_prompt_tokens, found.max_new_tokens) == (700, config.max_new_tokens)
    assert found.trust_remote_code
    assert fleet_choice.replica(config, "model", "cuda:0").most_prompt_tokens is None


def test_a_script_is_refused_for_another_engine_and_so_is_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    with pytest.raises(ConfigError) as caught:
        fleet_choice.choose(RunConfig(engine="scripted", model_id=str(path)))
    assert str(caught.value) == f"{path}: cannot be read (No such file or directory)"
    path.write_text("{}")
    with pytest.raises(ConfigError) as caught:
        fleet_choice.choose(RunConfig(device="cpu", model_id=str(path)))
    assert str(caught.value) == f"model_id is {str(path)!r}, a script for dry runs; set engine: scripted to use it"


def test_adapters_are_read_before_the_run_and_their_files_recorded(tmp_path: Path) -> None:
    folder = written(tmp_path)
    config = RunConfig(model_id="embedded", device="cpu", adapters={"base": None, "code": folder})
    chosen = fleet_choice.choose(config)
    assert isinstance(facts := chosen.adapters["code"], dict)
    assert (list(chosen.adapters), facts["rank"], facts["targets"]) == (["code"], 4, ["q_proj"])
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert facts["sha256"] == sums
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(ModelUnavailable) as caught:
        fleet_choice.choose(config)
    assert str(caught.value) == f"adapters.code: {folder} has no adapter_config.json; name the folder of a PEFT LoRA"
    assert fleet_choice.choose(config.model_copy(update={"engine": "scripted"})).adapters == {}
