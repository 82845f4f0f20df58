"""The choice of a fleet for a config, and scripts that no fleet can run."""

from pathlib import Path

import pytest

from swarmeval.errors import ConfigError
from swarmeval.session import fleet_choice
from swarmeval.settings.run_config import RunConfig


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
