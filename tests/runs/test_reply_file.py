"""Files of replies: extra fields are ignored, and invalid lines are reported in one line."""

import re
from pathlib import Path

import pytest

from swarmeval.errors import DataError
from swarmeval.records import Completion, parse_job_id
from swarmeval.runs.reply_file import read_replies

REPLY = '"task_id": "T/0", "reply": "    return 1"'


def read(path: Path, *lines: str | bytes) -> list[Completion]:
    file = path / "replies.jsonl"
    file.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return list(read_replies(file, {"T/0"}))


@pytest.mark.parametrize(
    "value",
    [
        "NaN", "Infinity", "-Infinity", "[NaN, {\"a\": -Infinity}]", "null", "1e999", "-1E400", "9" * 30, "9" * 6_000,
        "-" + "9" * 6_000,
        '"\\ud83d"', '{"\\ud83d": ["\\udc00"]}', '"\\u0000"', "[[[[[[]]]]]]", "{}", "true", '{"reply": 3}', "0.1e-400",
    ],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_a_field_besides_may_hold_any_value(tmp_path: Path, value: str) -> None:
    lines = (
        f'{{"more": {value}, {REPLY}}}',
        f'{{{REPLY}, "more": {value}}}',
        f'{{{REPLY}, "more": [{value}], "x": NaN}}',
    )
    found = read(tmp_path, *lines)
    assert [reply.reply for reply in found] == ["    return 1"] * 3
    assert [parse_job_id(reply.job_id).sample for reply in found] == [0, 1, 2]


def test_half_of_a_surrogate_pair_becomes_the_replacement_character(tmp_path: Path) -> None:
    line = r'{"task_id": "T/0", "reply": "a \ud83d b \ud83d\ude00 \udc00"}'
    assert [reply.reply for reply in read(tmp_path, line)] == ["a \ufffd b \U0001f600 \ufffd"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not a reply (Input data was truncated)"),
        (f"{{{REPLY}, }}", "not a reply (JSON is malformed: "),
        ('{"task_id": NaN, "reply": ""}', "not a reply (Expected `str`, got `float` - at `$.task_id`)"),
        ('{"task_id": "T/0", "reply": NaN}', "not a reply (Expected `str | null`, got `float` - at `$.reply`)"),
        ('{"task_id": "T/0", "reply": 1, "x": NaN}', "not a reply (Expected `str | null`, got `int` - at `$.reply`)"),
        (f'{{{REPLY}, "agent_id": NaN}}', "not a reply (Expected `int`, got `float` - at `$.agent_id`)"),
        ("[NaN]", "not a reply (Expected `object`, got `array`)"),
        ("NaN", "not a reply (Expected `object`, got `float`)"),
        (b"{" + REPLY.encode() + b', "x": NaN, "y": "\xff"}', "not a reply ("),
        (f'{{{REPLY}, "x": {"[" * 100_000}{"]" * 100_000}}}', "not a reply ("),
    ],
)  # fmt: skip
def test_an_invalid_reply_line_is_refused_in_one_line(tmp_path: Path, line: str | bytes, said: str) -> None:
    with pytest.raises(
        DataError, match=rf"^{re.escape(str(tmp_path))}/replies.jsonl, line 2: {re.escape(said)}"
    ) as caught:
        read(tmp_path, f"{{{REPLY}}}", line)
    assert "\n" not in str(caught.value)
