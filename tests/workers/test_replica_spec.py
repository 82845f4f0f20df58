"""The specification of a replica that its worker receives."""

from pathlib import Path

from swarmeval.workers.replica_spec import Script, ScriptedFault, read_script


def test_a_script_is_read_from_the_file_in_model_id(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"rows": 2, "load_s": 0.5, "faults": [{"kind": "kill", "after": 3}]}')
    assert read_script(path) == Script(rows=2, load_s=0.5, faults=(ScriptedFault("kill", after=3),))
