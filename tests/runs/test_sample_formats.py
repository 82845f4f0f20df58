"""Files of other harnesses: recognized by their beginning, and judged as the programs that these executed."""

import json
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from swarmeval.cli import make_parser
from swarmeval.errors import DataError
from swarmeval.records import Completion, Suite, Task
from swarmeval.runs.sample_formats import AUTO, JSONL, READERS, SampleReader, detected, stated

PROMPT = "from typing import List\n\n\ndef f(x: int) -> int:\n    '''One.'''\n"
BODY = "    return x\n"
OTHER = "def f(x):\n    return x\n"
TASKS = [Task(f"T/{number}", PROMPT, Suite("f", "assert f(1) == 1")) for number in (0, 11)]


def read(path: Path, form: str = "auto") -> list[Completion]:
    return list(SampleReader(path, stated(path, form), TASKS).completions())


def forms(path: Path, form: str = "auto") -> list[tuple[str, str, str]]:
    return [(found.job_id, found.form, found.reply) for found in read(path, form)]


def saved(path: Path, *values: Any, indent: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, indent=indent) + "\n" for value in values))
    return path


def document(task: object, *programs: str, name: str = "create_test") -> dict[str, object]:
    """A line of lm-eval's samples."""
    return {"doc_id": 0, "doc": {"task_id": task}, "resps": [["-"] * len(programs)], "filtered_resps": [programs],
            "filter": name}  # fmt: skip


def inspected(task: object, text: str, epoch: int = 1, error: object = None) -> dict[str, object]:
    """A sample of an Inspect log. After an error there is no choice."""
    message = {"role": "assistant", "content": text}
    output = {"model": "m", "choices": [] if error else [{"message": message}], "completion": "" if error else text}
    return {"id": task, "epoch": epoch, "input": "-", "output": output, "error": error}


def parts(content: list[dict[str, str]]) -> dict[str, object]:
    """A sample of an Inspect log whose message has several parts."""
    return inspected("T/0", "") | {"output": {"choices": [{"message": {"content": content}}], "completion": ""}}


def zstandard_zip(name: str, content: bytes, crc: int | None = None, size: int | None = None) -> bytes:
    """A zip file with one member, compressed as Inspect compresses it. `crc`, `size`: wrong ones."""
    packed: bytes = pyarrow.compress(content, codec="zstd", asbytes=True)
    sizes = (
        zlib.crc32(content) if crc is None else crc,
        len(packed),
        len(content) if size is None else size,
        len(name),
    )
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 45, 0, 93, 0, 33, *sizes, 0) + name.encode() + packed
    central = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 45, 45, 0, 93, 0, 33, *sizes, 0, 0, 0, 0, 0, 0) + name.encode()
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def log(*samples: dict[str, object]) -> dict[str, object]:
    return {"version": 2, "status": "success", "eval": {"task": "t"}, "samples": list(samples)}


@pytest.mark.parametrize("form", [AUTO, JSONL, *READERS])
def test_the_command_accepts_every_format(form: str) -> None:
    assert make_parser("score").parse_args(["file", "--format", form]).format == form


def test_lm_eval_samples_are_the_programs_that_it_ran(tmp_path: Path) -> None:
    path = saved(tmp_path / "samples_t.jsonl", document("T/0", PROMPT + BODY, OTHER), document(11, OTHER))
    assert detected(path) == "lm-eval"
    assert forms(path) == [
        ("0/T/0/0/0", "completion", BODY), ("0/T/0/1/0", "solution", OTHER), ("0/T/11/0/0", "solution", OTHER),
    ]  # fmt: skip


def test_an_unfiltered_lm_eval_answer_is_one_text(tmp_path: Path) -> None:
    path = saved(tmp_path / "samples_t.jsonl", document("T/0", "-") | {"filtered_resps": [OTHER]})
    assert forms(path) == [("0/T/0/0/0", "solution", OTHER)]


def test_bigcode_programs_follow_the_order_of_tasks(tmp_path: Path) -> None:
    stripped = PROMPT.strip()  # as its tasks strip the prompts
    path = saved(tmp_path / "generations.json", [[f"{stripped}\n{BODY}", f"{stripped}return x", None], [OTHER]])
    assert detected(path) == "bigcode"
    assert forms(path) == [
        ("0/T/0/0/0", "completion", BODY), ("0/T/0/1/0", "solution", f"{stripped}return x"),
        ("0/T/11/0/0", "solution", OTHER),
    ]  # fmt: skip


def test_raw_evalplus_samples_are_replies_or_continue_the_prompt(tmp_path: Path) -> None:
    lines = [{"task_id": "T/0", "solution": "```python\n..."}, {"task_id": "T/0", "solution": PROMPT + BODY}]
    assert forms(saved(tmp_path / "m.raw.jsonl", *lines)) == [
        ("0/T/0/0/0", "reply", "```python\n..."), ("0/T/0/1/0", "completion", BODY),
    ]  # fmt: skip


def test_evalplus_samples_folders_and_results_are_programs(tmp_path: Path) -> None:
    samples = saved(tmp_path / "samples.jsonl", {"task_id": "T/0", "solution": OTHER})
    (tmp_path / "folder" / "T_0").mkdir(parents=True)
    (tmp_path / "folder" / "T_0" / "3.py").write_text(OTHER)
    results = saved(
        tmp_path / "samples_eval_results.json",
        {"date": "2026-11-30 00:24", "hash": "0", "eval": {"T/0": [{"solution": OTHER, "base_status": "pass"}]}},
    )
    assert forms(samples) == forms(samples, "evalplus") == [("0/T/0/0/0", "solution", OTHER)]
    assert forms(tmp_path / "folder") == [("0/T/0/3/0", "solution", OTHER)]
    assert forms(results) == [("0/T/0/0/0", "solution", OTHER)]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_inspect_logs_are_replies_by_epoch(tmp_path: Path, compression: int) -> None:
    samples = [inspected("T/0", "one", 2), inspected("T/0", PROMPT + BODY, 1), inspected(11, "three")]
    path = saved(tmp_path / "log.json", log(*samples), indent=2)
    zipped = tmp_path / "log.eval"
    with zipfile.ZipFile(zipped, "w", compression) as archive:
        archive.writestr("header.json", "{}")
        for number, sample in enumerate(samples):
            archive.writestr(f"samples/{number}.json", json.dumps(sample))
    expected = [
        ("0/T/0/1/0", "reply", "one"), ("0/T/0/0/0", "reply", PROMPT + BODY), ("0/T/11/0/0", "reply", "three"),
    ]  # fmt: skip
    assert (detected(path), detected(zipped)) == ("inspect", "inspect")
    assert forms(path) == forms(zipped) == expected


def test_inspect_logs_compressed_with_zstandard_are_read(tmp_path: Path) -> None:
    content = json.dumps(inspected("T/0", "the answer " * 99)).encode()
    path = tmp_path / "log.eval"
    path.write_bytes(zstandard_zip("samples/T/0_epoch_1.json", content))
    assert [found.reply for found in read(path)] == ["the answer " * 99]
    path.write_bytes(zstandard_zip("samples/T/0_epoch_1.json", content, crc=1))
    with pytest.raises(DataError, match=r": not a readable zip file \(bad CRC-32 for 'samples/T/0_epoch_1.json'\)$"):
        read(path)


def test_a_failure_of_the_other_harness_is_not_a_wrong_answer(tmp_path: Path) -> None:
    path = saved(tmp_path / "log.json", log(inspected("T/0", "", error={"message": "API"}), inspected("T/0", "a", 2)))
    reader = SampleReader(path, "inspect", TASKS)
    assert [found.job_id for found in reader.completions()] == ["0/T/0/1/0"]
    assert reader.without_answer == [f"{path}, sample 1"]


def test_parts_of_a_message_are_joined_without_its_reasoning(tmp_path: Path) -> None:
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    path = saved(tmp_path / "log.json", log(parts([{"type": "reasoning", "reasoning": "hm"}, *texts])))
    assert forms(path) == [("0/T/0/0/0", "reply", "a\nb")]


@pytest.mark.parametrize(
    ("form", "content", "told"),
    [
        ("lm-eval", [{"task_id": "T/0", "solution": OTHER}], ", line 1: needs doc and filtered_resps, as lm-eval's "),
        ("lm-eval", [document("T/0", OTHER), document("T/0", OTHER, name="b")], ", line 2: the filter is 'b', above "),
        ("lm-eval", [document("U/0", OTHER)], ", line 1: task_id 'U/0' is not in the benchmark"),
        ("bigcode", [{"a": 1}], ": bigcode's generations are a list of lists of texts, one per task; this is not"),
        ("bigcode", [[[OTHER], [], [OTHER]]], ", list 3: only 2 tasks are selected; bigcode's lists follow the order"),
        ("bigcode", [[[1]]], ", list 1: has 1; generations are texts"),
        ("inspect", [{"eval": {}}], ": not a log of Inspect with samples; run Inspect without --no-log-samples"),
        ("evalplus", [{"date": "x", "hash": ""}], ": has no eval"),
        ("evalplus", [{"eval": {"T/0": None}}], ": eval.T/0 is not a list of results, as EvalPlus's evaluate writes "),
        ("inspect", [log({"id": "T/0"})], ", sample 1: has no output"),
        ("inspect", [log(inspected("T/0", "") | {"output": {"choices": 1}})], ", sample 1: choices is not a list"),
        ("inspect", [log(inspected("T/0", "a", 0))], ", sample 1: epoch is 0; Inspect counts epochs from 1"),
        ("inspect", [log(parts([{"type": "text"}]))], ", sample 1: has no text named text"),
    ],
)  # fmt: skip
def test_a_wrong_format_is_one_clear_line(tmp_path: Path, form: str, content: list[Any], told: str) -> None:
    path = saved(tmp_path / "file.json", *content)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}{told}')}") as caught:
        list(SampleReader(path, form, TASKS).completions())
    assert "\n" not in str(caught.value)


def test_a_sample_that_is_no_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "folder" / "T_0").mkdir(parents=True)
    os.mkfifo(tmp_path / "folder" / "T_0" / "0.py")
    with pytest.raises(DataError, match=r"/T_0/0\.py: not a file; remove it$"):
        read(tmp_path / "folder")


def test_a_broken_zip_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("samples/a.json", json.dumps(inspected("T/0", "a")))
    path.write_bytes(path.read_bytes().replace(b'"epoch": 1', b'"epoch": 2'))
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: not a readable zip file \(Bad CRC-32 for file "):
        read(path)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((256 << 20) + 1, "'samples/a.json' is larger than 256 MiB"),
        (9, "bad CRC-32 for 'samples/a.json'"),  # unpacks to more than it states
    ],
)
def test_a_zip_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, size: int, told: str) -> None:
    path = tmp_path / "log.eval"
    path.write_bytes(zstandard_zip("samples/a.json", b" " * 100_000, size=size))
    with pytest.raises(DataError, match=rf"^{re.escape(f'{path}: not a readable zip file ({told})')}$"):
        read(path)


def test_an_encrypted_or_damaged_zip_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("samples/a.json", "{}")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r": not a readable zip file \(File .*'samples/a.json'.* is encrypted, "):
        read(path)
    path.write_bytes(zstandard_zip("samples/a.json", b"x" * 999).replace(b"\x28\xb5\x2f\xfd", b"0000"))
    with pytest.raises(DataError, match=r": (?:not a readable zip file|cannot be read) \([^\n]+\)$"):
        read(path)


@pytest.mark.parametrize("tail", ["", "\n", "\n    ", "   \n"])
def test_white_space_around_a_program_does_not_change_it(tmp_path: Path, tail: str) -> None:
    task = Task("T/0", f"\n\n{PROMPT.rstrip()}{tail}", Suite("f", ""))
    for program in (task.prompt + BODY, task.prompt.strip() + tail + BODY, task.prompt.strip() + BODY):
        path = saved(tmp_path / "generations.json", [[program]])
        (found,) = SampleReader(path, "bigcode", [task]).completions()
        judged = task.prompt + found.reply if found.form == "completion" else found.reply
        assert judged.lstrip() == program.lstrip()
