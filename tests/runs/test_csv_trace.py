"""Claims about growing CSV files: rows read back as written, whatever happens to the disk or the process."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.runs.csv_trace import TAIL_BYTES, CsvTrace, header, last_rows, number, rows

CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=25)
@given(cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_rows_read_back_as_written_but_for_white_space(cells: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv"
        for first, second in cells:  # reopened each time, as by a resumed run
            trace = CsvTrace(path, ("a", "b"))
            trace.append({"a": first, "b": second})
            trace.close()
        found = [{"a": " ".join(a.split()), "b": " ".join(b.split())} for a, b in cells]
        assert last_rows(path, 99) == list(rows(path)) == found


def test_numbers_are_short_and_what_is_unknown_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    trace = CsvTrace(path, ("a", "b", "c", "d"))
    trace.append({"a": 100.0, "b": 1 / 3, "c": None})
    trace.close()
    assert path.read_text() == "a,b,c,d\n100,0.333,,\n"


def test_an_opened_trace_has_its_header_and_no_row(tmp_path: Path) -> None:
    trace = CsvTrace(tmp_path / "trace.csv", ("a", "b"))
    trace.open()
    trace.close()
    assert (tmp_path / "trace.csv").read_text() == "a,b\n"
    assert last_rows(tmp_path / "trace.csv", 5) == []


def test_a_resumed_file_keeps_the_columns_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("b,old\n1,2\n")
    trace = CsvTrace(path, ("a", "b"))
    trace.append({"a": 3, "b": 4})
    trace.close()
    assert path.read_text() == "b,old\n1,2\n4,\n"


def test_a_torn_last_row_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("a,b\n1,2\n3")
    trace = CsvTrace(path, ("a", "b"))
    trace.append({"a": 4, "b": 5})
    trace.close()
    assert last_rows(path, 9) == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]


def test_a_torn_header_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("a,")
    trace = CsvTrace(path, ("a", "b"))
    trace.append({"a": 1, "b": 2})
    trace.close()
    assert path.read_text() == "a,b\n1,2\n"


def test_only_the_end_of_a_large_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    with path.open("w") as file:
        file.write("a,b\n")
        file.seek(2**36)  # a sparse file: reading all of it would take minutes
        file.write("\n1,2\n3,4\n")
    assert last_rows(path, 2) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert path.stat().st_size > 1000 * TAIL_BYTES


def test_a_missing_file_has_no_columns_and_no_rows(tmp_path: Path) -> None:
    assert header(tmp_path / "none.csv") == ()
    assert last_rows(tmp_path / "none.csv", 1) == []


def test_a_full_disk_is_logged_once_and_raises_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trace.csv"
    path.symlink_to("/dev/full")
    trace = CsvTrace(path, ("a",))
    with caplog.at_level(logging.WARNING):
        trace.open()
        trace.append({"a": 1})
        trace.append({"a": 2})
    trace.close()
    assert caplog.messages == [f"{path}: cannot write rows (No space left on device); the run continues without them"]


@pytest.mark.parametrize("line", [bytes(200_000) + b"\n", b"3,\r4\n", b"\xff\n", b"3,4,5\n", b"\n", b"3,4"])
def test_torn_lines_in_a_trace_are_not_rows(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"a,b\n1,2\n" + line)
    assert list(rows(path)) == last_rows(path, 9) == [{"a": "1", "b": "2"}]
    path.write_bytes(b"a\rb\n" + line)  # an invalid header
    assert (list(rows(path)), last_rows(path, 9)) == ([], [])


def test_a_cell_that_is_not_a_number_counts_as_empty() -> None:
    assert [number(cell) for cell in ("1.5", "", None, "x", "nan", "1e999")] == [1.5, None, None, None, None, None]
