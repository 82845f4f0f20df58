"""Lone surrogates become U+FFFD wherever text enters, and each replacement is noted."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from human_eval_runner import Judge
from swarmeval.errors import DataError
from swarmeval.records import Completion, Suite, Task, Verdict
from swarmeval.runs.journal import Entry, Journal
from swarmeval.runs.reply_file import read_replies
from swarmeval.surrogates import data_without_lone, note, without_lone
from swarmeval.tasks.catalog import load

ONE = "1 lone surrogate became U+FFFD"
ROW = {"task_id": "Own/0", "prompt": "def f(x):\n    # \ud83d\n", "entry_point": "f", "test": "assert f(1) == 1"}


@given(st.text(st.characters(codec="utf-16", categories=["Cs", "L", "So"])))
def test_what_is_left_is_valid_text_and_valid_text_is_left_alone(text: str) -> None:
    found, replaced = without_lone(text)
    found.encode()
    assert found == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert replaced == found.count("\ufffd") - text.count("\ufffd")


def test_two_halves_in_a_row_are_one_letter() -> None:
    assert without_lone("a\ud83d\ude00b\ude00\ud83d") == ("a\U0001f600b\ufffd\ufffd", 2)


def test_plain_data_is_searched_in_every_place() -> None:
    data = {"\ud83d": ["\ud83d", {"a": "\ud83d"}], "b": 1.5}
    assert data_without_lone(data) == ({"\ufffd": ["\ufffd", {"a": "\ufffd"}], "b": 1.5}, 3)


def test_the_note_counts() -> None:
    assert [note(count) for count in range(3)] == ["", ONE, "2 lone surrogates became U+FFFD"]


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("form", ["reply", "completion", "solution"])
def test_a_reply_from_a_file_is_read_with_a_note(tmp_path: Path, form: str) -> None:
    path = lines(tmp_path / "replies.jsonl", {"task_id": "T", form: "x \ud83d"}, {"task_id": "T", form: "y"})
    first, second = read_replies(path, {"T"})
    assert (first.reply, first.note) == ("x \ufffd", ONE)
    assert (second.reply, second.note) == ("y", "")
    with Journal(tmp_path) as journal:
        journal.append(Entry(completion=first))


def test_a_reply_whose_surrogate_is_raw_bytes_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_bytes(b'{"task_id": "T", "reply": "x \xed\xa0\xbd"}\n')
    (reply,) = read_replies(path, {"T"})
    assert (reply.reply, reply.note) == ("x \ufffd", ONE)


@pytest.mark.parametrize(
    "line", [b'{"task_id": "T", "reply": "\\ud83d', b"\xe9", b'{"task_id": "T", "reply": ["\\ud83d"]}', b"\xed\xa0\xbd"]
)
def test_a_surrogate_excuses_no_other_fault_of_a_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_bytes(line)
    with pytest.raises(DataError, match=r"replies\.jsonl, line 1: not a reply \("):
        list(read_replies(path, {"T"}))


def test_a_prompt_from_a_file_is_read_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = lines(tmp_path / "tasks.jsonl", ROW)
    loaded = load("custom", str(path))
    assert loaded.tasks[0].prompt == "def f(x):\n    # \ufffd\n"
    assert loaded.facts()["note"] == ONE
    assert caplog.messages == [f"{path}: {ONE}"]
    assert "note" not in load("custom", str(lines(path, {**ROW, "prompt": "def f(x):\n"}))).facts()


@pytest.mark.slow  # it starts a judge
def test_a_verdict_keeps_the_note_of_its_reply() -> None:
    task = Task("T", "def f(x):\n", Suite("f", "assert f(1) == 1"))

    async def judged() -> Verdict:
        async with Judge([task], 1, 10.0, 4096) as judge:
            return await judge.judge(Completion("0/T/0/0", "", note=ONE))

    assert asyncio.run(judged()).note.endswith(ONE)
