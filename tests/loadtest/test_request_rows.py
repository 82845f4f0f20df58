"""requests.csv returns the rows written to it, even if the file was torn."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.errors import DataError, OutputError
from swarmeval.loadtest.generator import Measured
from swarmeval.loadtest.request_rows import COLUMNS, NAME, RequestRow, RowFile, read
from tests.support.made_up_load import closed_loop, leave, row

SECONDS = st.integers(0, 10**9).map(lambda micro: micro / 1e6)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), max_size=20)
ROWS = st.builds(
    RequestRow, TEXT,
    st.builds(Measured, st.integers(0, 10**6), SECONDS, SECONDS, st.none() | SECONDS, SECONDS,
              st.none() | st.integers(0, 10**6), st.none() | st.integers(0, 10**6),
              st.none() | TEXT.filter(bool), st.booleans(), st.none() | st.integers(0, 10**6)),
    TEXT, TEXT, TEXT, st.none() | SECONDS, TEXT, st.none() | st.integers(0, 99), st.integers(1, 9),
)  # fmt: skip


@settings(deadline=None, max_examples=30)  # a disk may be slow
@given(st.lists(ROWS, max_size=5))
def test_rows_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list[RequestRow]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    assert list(read(leave(folder, rows))) == rows


def test_a_file_from_before_computed_tokens_is_read(tmp_path: Path) -> None:
    leave(tmp_path, [row(7, tokens=(10, 4))])
    header, line = ((tmp_path / NAME).read_text().splitlines())[:2]
    place = header.split(",").index("computed_tokens")
    lines = [",".join(cells[:place] + cells[place + 1 :]) for cells in (header.split(","), line.split(","))]
    (tmp_path / NAME).write_text("\n".join(lines) + "\n")
    (found,) = read(tmp_path)
    assert (found.request.output_tokens, found.request.computed_tokens) == (4, None)


def test_the_header_names_all_columns_with_units(tmp_path: Path) -> None:
    leave(tmp_path, [row(7, latency_s=2.0, ttft_s=0.5, tokens=(10, 4), written_s=2.25)])
    header, line = (tmp_path / NAME).read_text().splitlines()
    cells = dict(zip(header.split(","), line.split(","), strict=True))
    assert tuple(cells) == COLUMNS
    assert (cells["latency_s"], cells["ttft_s"], cells["tpot_s"], cells["to_file_s"]) == ("2", "0.5", "0.5", "2.25")
    assert (cells["error"], cells["counts"], cells["number"]) == ("", "yes", "7")


@pytest.mark.slow
def test_a_file_torn_anywhere_keeps_its_whole_rows_and_takes_more(tmp_path: Path) -> None:
    rows = closed_loop(6)
    whole = (leave(tmp_path, rows[:3]) / NAME).read_bytes()
    begin = whole[:-1].rindex(b"\n") + 1  # start of the last row
    for cut in range(begin, len(whole)):
        (tmp_path / NAME).write_bytes(whole[:cut])
        with RowFile(tmp_path) as file:
            file.append(rows[5])
        *before, last = read(tmp_path)
        assert last.request.number == 5
        whole_now = cut == len(whole) - 1  # only its line end was missing
        assert [one.request.number for one in before] == ([0, 1, 2] if whole_now else [0, 1])


def test_a_torn_header_is_rewritten(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"level,numb")
    leave(tmp_path, [row()])
    assert len(list(read(tmp_path))) == 1


def test_an_error_is_one_line_without_a_key(tmp_path: Path) -> None:
    leave(tmp_path, [row(error="401:\n  Bearer sk-abcdefghijklmnopqrstuvwxyz0123456789 is\tunknown")])
    (read_row,) = read(tmp_path)
    assert read_row.request.error is not None
    assert read_row.request.error.startswith("401: Bearer ")
    assert "abcdefghijklmnopqrstuvwxyz" not in (tmp_path / NAME).read_text()


def test_a_folder_without_rows_or_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = re.escape(str(tmp_path))
    with pytest.raises(DataError, match=f"^{folder}: not the folder of a load run \\(it has no requests.csv\\)$"):
        list(read(tmp_path))
    (tmp_path / NAME).write_text("level,number\n1 at once,0\n")
    path = re.escape(str(tmp_path / NAME))
    with pytest.raises(
        DataError, match=f"^{path}: written by another version of Swarmeval; read it with that version$"
    ):
        list(read(tmp_path))
    with pytest.raises(DataError, match=f"^{path}: written by another version of Swarmeval; move the file away$"):
        RowFile(tmp_path)


def test_rows_cannot_be_written_to_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written \(No such file or directory\)"):
        RowFile(tmp_path / "nowhere")
