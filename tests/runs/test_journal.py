"""The journal keeps all appended entries, even if its last line is torn."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.errors import OutputError
from swarmeval.records import Completion, Failure, Outcome, Verdict
from swarmeval.runs.journal import NAME, Entry, Journal, JournalReader, SessionStart, entries, recent_verdicts

ENTRIES = [
    Entry(session=SessionStart(1.5)),
    Entry(completion=Completion("0/HumanEval/0/0/0", 'def f():\n\treturn "ü\\n\u2028"\x00', output_tokens=7)),
    Entry(verdict=Verdict("0/HumanEval/0/0/0", Outcome.PASSED, "    return 1", judge_s=0.1)),
    Entry(failure=Failure("1/HumanEval/0/0/0", "worker died", 3)),
]


def written(folder: Path) -> Path:
    with Journal(folder) as journal:
        for entry in ENTRIES:
            journal.append(entry)
    return folder / NAME


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = list(entries(path))
    assert [entry for _, entry in found] == ENTRIES
    with JournalReader(path) as reader:
        assert [reader.entry(offset) for offset, _ in reversed(found)] == ENTRIES[::-1]


def test_a_journal_cut_at_any_byte_keeps_its_whole_lines(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    ends = [0, *(place + 1 for place, byte in enumerate(whole) if byte == 10)]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        Journal(tmp_path).close()
        assert path.read_bytes() == whole[: max(end for end in ends if end <= length)]


@given(st.binary(max_size=200))
def test_whatever_a_power_cut_leaves_behind_the_last_whole_line_is_cut_off(garbage: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder))
        whole = path.read_bytes()
        path.write_bytes(whole + garbage.replace(b"\n", b""))
        Journal(Path(folder)).close()
        assert path.read_bytes() == whole


def test_a_long_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"completion":{"text":"' + b"x" * 300_000)
    Journal(tmp_path).close()
    assert path.read_bytes() == whole


def test_a_broken_line_in_the_middle_is_refused_with_its_number(tmp_path: Path) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"broken\n" + lines[1])
    with pytest.raises(OutputError, match=r"line 2: not a journal line \(.*\); start over with --fresh$"):
        list(entries(path))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from swarmeval.errors import OutputError
from swarmeval.runs.journal import Entry, Journal, SessionStart

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Journal(Path(sys.argv[1])) as journal:
    journal.append(Entry(session=SessionStart(1.0)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.length + 10, resource.RLIM_INFINITY))
    try:
        journal.append(Entry(session=SessionStart(2.0)))
    except OutputError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.append(Entry(session=SessionStart(3.0)))
"""


def test_a_journal_is_read_from_any_of_its_lines_on(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for number in range(4):
            journal.append(Entry(session=SessionStart(float(number))))
    path = tmp_path / NAME
    whole = list(entries(path))
    for place, (offset, _) in enumerate(whole):
        assert list(entries(path, offset)) == whole[place:]
    assert list(entries(path, path.stat().st_size)) == []
    with path.open("ab") as file:
        file.write(b"no\n")
    with pytest.raises(OutputError, match=rf"byte {path.stat().st_size - 3}: not a journal line \(.*\); start over"):
        list(entries(path, whole[1][0]))


def test_an_append_that_does_not_fit_leaves_no_half_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30
    )
    path = tmp_path / NAME
    assert [entry.session.started_at for _, entry in entries(path) if entry.session] == [1.0, 3.0]
    assert done.stdout == (f"{path}: cannot be written (File too large); free disk space, then repeat the command\n")


def test_recent_verdicts_are_those_in_the_last_bytes(tmp_path: Path) -> None:
    verdicts = [Verdict(f"{n}/T/0/0", Outcome.PASSED, "") for n in range(9)]
    with Journal(tmp_path) as journal:
        for number, verdict in enumerate(verdicts):
            journal.append(Entry(completion=Completion(verdict.job_id, "x" * number)))
            journal.append(Entry(verdict=verdict))
    path = tmp_path / NAME
    for most in range(path.stat().st_size + 2):
        found = list(recent_verdicts(path, most))
        assert found == verdicts[len(verdicts) - len(found) :]
    assert len(found) == len(verdicts)
    assert not list(recent_verdicts(path, 1))
