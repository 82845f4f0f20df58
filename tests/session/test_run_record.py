"""The requirements of a new run are checked before the earlier run in the folder is archived."""

from pathlib import Path

import pytest

from swarmeval.errors import ConfigError, DeviceError
from swarmeval.records import Completion, Outcome, Verdict
from swarmeval.runs.folder import MANIFEST, read_manifest
from swarmeval.runs.journal import Entry
from swarmeval.runs.plan import Plan
from swarmeval.session.run_record import opened, opened_anew
from swarmeval.settings.run_config import RunConfig
from tests.support.environments import environment, install
from tests.support.run_folders import plan_of


def down() -> None:
    raise DeviceError("no server answers")


def begun(folder: Path, answered: int, finished: bool) -> tuple[RunConfig, Plan]:
    """A run of four jobs, of which `answered` are answered."""
    config, plan = plan_of(2, 2, output_dir=str(folder))
    with opened(config, plan, config.measured(), fresh=False) as record:
        record.begin()
        for k in range(answered):
            record.journal.append(Entry(completion=Completion(plan.job(k).job_id, "x")))
        record.end("finished" if finished else "drained")
    return config, plan


def test_a_finished_run_stays_where_it_is_if_a_new_one_cannot_begin(tmp_path: Path) -> None:
    config, plan = begun(tmp_path, 4, finished=True)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DeviceError), opened(config, plan, config.measured(), fresh=False, check=down):
        pytest.fail("the run began")
    with pytest.raises(DeviceError), opened_anew(config, down):
        pytest.fail("the run began")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_was_never_there_leaves_no_manifest_if_it_cannot_begin(tmp_path: Path) -> None:
    config, plan = plan_of(2, 2, output_dir=str(tmp_path))
    with pytest.raises(DeviceError), opened(config, plan, config.measured(), fresh=False, check=down):
        pytest.fail("the run began")
    assert not (tmp_path / MANIFEST).exists()


@pytest.mark.parametrize("answered", [3, 4])
def test_a_run_goes_on_only_with_the_commit_it_began_with(tmp_path: Path, answered: int) -> None:
    config, plan = plan_of(2, 2, output_dir=str(tmp_path))
    with opened(config, plan, config.measured(), fresh=False) as record:
        record.note_fleet("owner/model", {"model_commit": "a1"})
        for k in range(answered):
            record.journal.append(Entry(completion=Completion(plan.job(k).job_id, "x")))
    with opened(config, plan, config.measured(), fresh=False) as record:
        record.note_fleet("owner/model", {"model_commit": "a1"})
        if answered == plan.total:
            record.note_fleet("owner/model", {"model_commit": "b2"})  # nothing is left to generate
        else:
            with pytest.raises(ConfigError) as caught:
                record.note_fleet("owner/model", {"model_commit": "b2"})
            assert str(caught.value) == (
                f"{tmp_path}: this run began with commit a1 of owner/model, and now there is b2; "
                "set model_revision: a1, or start over with --fresh"
            )
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["model_commit"] == "a1"


def test_a_run_goes_on_without_a_fleet_if_only_judging_is_left(tmp_path: Path) -> None:
    config, plan = begun(tmp_path / "lacks", 3, finished=False)
    with pytest.raises(DeviceError), opened(config, plan, config.measured(), fresh=False, check=down):
        pytest.fail("the run went on")
    manifest = read_manifest(tmp_path / "lacks")
    assert manifest is not None
    assert len(manifest["sessions"]) == 1
    config, plan = begun(tmp_path / "answered", 4, finished=False)
    with opened(config, plan, config.measured(), fresh=False, check=down) as record:
        assert record.resumed


@pytest.mark.parametrize(("then", "now"), [("hf", "auto"), ("auto", "hf")])
def test_a_run_goes_on_under_the_other_name_of_its_engine(tmp_path: Path, then: str, now: str) -> None:
    config, plan = plan_of(2, 2, output_dir=str(tmp_path), engine=then)
    with opened(config, plan, config.measured(), fresh=False) as record:
        record.begin()
        record.end("drained")
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["config"]["engine"] == "hf"
    config, plan = plan_of(2, 2, output_dir=str(tmp_path), engine=now)
    with opened(config, plan, config.measured(), fresh=False) as record:
        assert record.resumed


def test_a_run_goes_on_only_under_the_same_packages(tmp_path: Path) -> None:
    venv = environment(tmp_path / "venv")
    config, plan = plan_of(2, 2, output_dir=str(tmp_path / "run"), judge_python=str(venv / "bin" / "python"))
    manifests = []
    for number in range(3):
        if number == 2:
            install(venv, "other", "2.0")
        with opened(config, plan, config.measured(), fresh=False) as record:
            record.begin()
            record.end("drained")
            manifests.append(record.manifest)
            assert record.resumed is (number == 1)
    assert [manifest["judge_python"]["packages"] for manifest in manifests] == [
        {"tiny": "1.5"}, {"tiny": "1.5"}, {"other": "2.0", "tiny": "1.5"},
    ]  # fmt: skip


def test_a_resumed_run_counts_its_repairs_among_its_jobs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config, plan = plan_of(1, 2, output_dir=str(tmp_path), max_repairs=1)
    with opened(config, plan, config.measured(), fresh=False) as record:
        record.begin()
        for job_id in (plan.job(k).job_id for k in range(3)):  # the third repairs the first
            record.journal.append(Entry(completion=Completion(job_id, "x")))
        for job_id in (plan.job(k).job_id for k in range(2)):
            record.journal.append(Entry(verdict=Verdict(job_id, Outcome.RAISED, "x")))
        record.end("drained")
        run_id = record.run_id
    with opened(config, plan, config.measured(), fresh=False) as record:
        record.begin()
    assert caplog.messages == [f"resuming {run_id}: 3 of 4 jobs are answered"]
