"""A run folder has one coordinator at a time, resumes its own run, and archives any other run completely."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarmeval.errors import OutputError, RunLocked
from swarmeval.runs.folder import Manifest, fingerprint, locked, open_run, read_manifest, write_manifest


def begun(folder: Path, mark: str, finished: bool = False) -> Manifest:
    """A run with a result in the folder, as a later session would find it."""
    manifest, _ = open_run(folder, mark, fresh=False)
    manifest["finished"] = finished
    write_manifest(folder, manifest)
    (folder / "journal.jsonl").write_text("{}\n")
    (folder / "agent_0_results.jsonl").write_text("mine\n")
    return manifest


def test_an_unfinished_run_of_the_same_settings_is_resumed(tmp_path: Path) -> None:
    first = begun(tmp_path, "same")
    assert open_run(tmp_path, "same", fresh=False) == (first, True)
    assert (tmp_path / "journal.jsonl").exists()


@pytest.mark.parametrize(
    ("mark", "fresh", "finished"), [("other", False, False), ("same", True, False), ("same", False, True)]
)
def test_any_other_run_is_archived_whole(tmp_path: Path, mark: str, fresh: bool, finished: bool) -> None:
    first = begun(tmp_path, "same", finished)
    manifest, resumed = open_run(tmp_path, mark, fresh)
    assert (resumed, manifest["sessions"]) == (False, [])
    archived = tmp_path / "archive" / first["run_id"]
    assert sorted(path.name for path in archived.iterdir()) == [
        "agent_0_results.jsonl",
        "journal.jsonl",
        "manifest.json",
    ]
    assert (archived / "agent_0_results.jsonl").read_text() == "mine\n"
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_files_that_are_not_the_runs_stay_in_place(tmp_path: Path) -> None:
    inner = tmp_path / "smoke"
    inner.mkdir()
    begun(inner, "inner")
    (tmp_path / "notes.txt").write_text("keep")
    begun(tmp_path, "outer", finished=True)
    open_run(tmp_path, "outer", fresh=False)
    assert (tmp_path / "notes.txt").read_text() == "keep"
    assert (inner / "journal.jsonl").exists()


def test_two_archives_of_one_run_id_do_not_meet(tmp_path: Path) -> None:
    first = begun(tmp_path, "same", finished=True)
    (tmp_path / "archive" / first["run_id"]).mkdir(parents=True)
    (tmp_path / "archive" / first["run_id"] / "journal.jsonl").touch()
    open_run(tmp_path, "same", fresh=False)
    assert (tmp_path / "archive" / f"{first['run_id']}.1" / "journal.jsonl").exists()


def test_a_repeated_finished_command_says_so_and_names_the_old_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for pages in ((), ("report.html",), ("load_report.html",)):
        first = begun(tmp_path, "same", finished=True)
        for name in pages:
            (tmp_path / name).touch()
        archived = tmp_path / "archive" / first["run_id"]
        caplog.clear()
        open_run(tmp_path, "same", fresh=False)
        how = f"its report: {archived / pages[0]}" if pages else f"`python main.py report {archived}` makes its report"
        said = f"{tmp_path}: this run had finished and starts over; the earlier one was moved to {archived}; {how}"
        assert caplog.messages == [said]
        shutil.rmtree(archived)


@pytest.mark.parametrize(("finished", "word"), [(True, "finished"), (False, "unfinished")])
def test_a_run_of_other_settings_is_not_taken_for_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, finished: bool, word: str
) -> None:
    archived = tmp_path / "archive" / begun(tmp_path, "another", finished=finished)["run_id"]
    open_run(tmp_path, "same", fresh=False)
    assert caplog.messages[0].startswith(f"{tmp_path}: the run found there, {word}, was moved to {archived}; ")


def test_a_move_that_was_killed_as_it_began_leaves_no_empty_archive(tmp_path: Path) -> None:
    first = begun(tmp_path, "same", finished=True)
    (tmp_path / "archive" / first["run_id"]).mkdir(parents=True)
    open_run(tmp_path, "same", fresh=False)
    assert [path.name for path in (tmp_path / "archive").iterdir()] == [first["run_id"]]


def test_files_without_a_manifest_are_archived_as_of_an_unknown_run(tmp_path: Path) -> None:
    (tmp_path / "score.json").write_text("{}")
    open_run(tmp_path, "same", fresh=False)
    (archived,) = (tmp_path / "archive").iterdir()
    assert archived.name.startswith("unknown-")


def test_an_unreadable_manifest_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OutputError, match=r"manifest\.json: cannot be read \(.*\); move the file away$"):
        open_run(tmp_path, "same", fresh=False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "not a valid manifest (Expected `object`, got `array`)"),
        ("{}", "not a valid manifest (Object missing required field `run_id`)"),
        ('{"run_id": "../x", "sessions": []}',
         r"not a valid manifest (Expected `str` matching regex '^\\w[\\w.-]*\\Z' - at `$.run_id`)"),
        ('{"run_id": "x", "sessions": [1]}',
         "not a valid manifest (Expected `object`, got `int` - at `$.sessions[0]`)"),
        *((f'{{"run_id": "x", "sessions": [], "{part}": 1}}',
           f"not a valid manifest (Expected `{kind}`, got `int` - at `$.{part}`)")
          for part, kind in [("config", "object"), ("data", "object"), ("hardware", "object"), ("agents", "array"),
                             ("prompts", "object"), ("replicas", "object"), ("versions", "object")]),
        ('{"x":' * 100_000,
         "cannot be read (maximum recursion depth exceeded while decoding a JSON object from a unicode string)"),
    ],
)  # fmt: skip
def test_a_manifest_edited_into_something_else_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(OutputError) as refused:
        open_run(tmp_path, "same", fresh=True)
    assert str(refused.value) == f"{path}: {why}; move the file away"


def test_a_file_holds_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_manifest(tmp_path / "file") is None


def test_drafts_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".metrics.csv.123.tmp").write_text("half")
    open_run(tmp_path, "same", fresh=False)
    assert list(tmp_path.iterdir()) == []


def test_a_second_coordinator_is_refused_and_a_dead_ones_lock_is_free(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from swarmeval.runs.folder import locked\n"
        "with locked(Path(sys.argv[1])):\n  print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunLocked) as caught, locked(tmp_path):
            pass
        assert str(caught.value) == (
            f"{tmp_path}: in use by another run (PID {holder.pid}); wait for it or choose another --output_dir"
        )
        holder.kill()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught, locked(tmp_path / "file"):
        pass
    assert str(caught.value) == (
        f"{tmp_path / 'file'}: cannot be written (File exists); fix this or choose another --output_dir"
    )


def test_a_fingerprint_depends_on_values_not_on_their_order() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 1, "b": [3]})


def test_a_manifest_is_read_back(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    write_manifest(tmp_path, {"run_id": "x", "sessions": []})
    assert read_manifest(tmp_path) == {"run_id": "x", "sessions": []}
