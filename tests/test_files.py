"""Claims about files that are replaced atomically."""

from pathlib import Path

import pytest

from swarmeval.errors import OutputError
from swarmeval.files import replaced


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x"  # as on a read-only disk, removing even a missing file fails here
    with pytest.raises(OutputError) as refused, replaced(path):
        pass
    said = f"{path}: cannot be written (Not a directory); fix this or choose another --output_dir"
    assert str(refused.value) == said


def test_invalid_unicode_is_written_as_its_escape(tmp_path: Path) -> None:
    with replaced(tmp_path / "x") as file:
        file.write("é\ud800")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "é\\ud800"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
