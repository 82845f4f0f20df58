"""languages.yaml is read into records; mistakes are refused in one line."""

from pathlib import Path

import pytest

from swarmeval.errors import ConfigError
from swarmeval.sandbox.languages import read

ENTRY = """
nim:
  package: nim
  command: nim
  version: [nim, --version]
  file: program.nim
  build: [nim, c, "{file}"]
  run: [./program]
  wrong_answer: {exit_code: 1, output: AssertionDefect}
  ending: {code: 'echo "{secret}"'}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "languages.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        read(path)
    return str(error.value)


def test_an_entry_becomes_a_record(tmp_path: Path) -> None:
    entry = read(written(tmp_path, ENTRY))["nim"]
    assert entry.build == ("nim", "c", "{file}")
    assert entry.wrong_answer.output == "AssertionDefect"
    assert (entry.needs, entry.warm, entry.ending.before) == ((), None, r"\Z")


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY + "  compile: [nim]\n")
    assert refused(path) == f"{path}: nim.compile: Extra inputs are not permitted"


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY.replace("  file: program.nim\n", ""))
    assert refused(path) == f"{path}: nim.file: Field required"


def test_a_command_must_be_a_list(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY.replace("[./program]", "./program"))
    assert refused(path) == f"{path}: nim.run: Input should be a valid tuple"


def test_a_pattern_must_be_a_regular_expression(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY.replace("AssertionDefect", "'('"))
    expected = "Value error, '(' is not a regular expression (missing ), unterminated subpattern at position 0)"
    assert refused(path) == f"{path}: nim.wrong_answer.output: {expected}"


def test_a_file_without_entries_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "- nim\n")
    assert refused(path) == f"{path}: must map names of languages to their entries"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert refused(path) == f"{path}: cannot be read ([Errno 2] No such file or directory: '{path}')"
