"""Reads the answers in files of other harnesses. Knows their layouts and what their texts mean, and no benchmark.

Each reader yields one ForeignSample per answer. Layouts are those of EvalPlus 0.3.1, lm-evaluation-harness 0.4.13,
bigcode-evaluation-harness (2025-07) and Inspect 0.3.285.
"""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from swarmeval.errors import DataError
from swarmeval.runs.zipped_logs import members

# A "program" is what the other harness executed before its tests, a "reply" the text of a chat model. A "raw" text is a
# program if it begins with the prompt, and else a reply.
Meaning = Literal["reply", "program", "raw"]

RAW = ".raw"


@dataclass(frozen=True, slots=True)
class ForeignSample:
    """One answer. `task` is a task id, a bare number of one, or a place in the order of tasks."""

    where: str  # for messages
    task: str | int
    text: str | None  # None if the other harness failed to get an answer
    meaning: Meaning
    number: int | None = None  # of the sample, if the file states it


def evalplus(path: Path) -> Iterator[ForeignSample]:
    """Raw samples (*.raw.jsonl), a folder of TASK/N.py, or the results of its `evaluate`. Raises DataError.

    Raw samples of base models begin with the prompt; those of chat models are replies. samples.jsonl itself has the
    form of our own files.
    """
    if path.is_dir():
        yield from _evalplus_folder(path)
    elif path.name.endswith(f"{RAW}.jsonl"):
        for where, line in _lines(path):
            yield ForeignSample(where, _field(line, "task_id", where), _text(line, "solution", where), "raw")
    else:
        for task_id, results in _object(_json(path), "eval", str(path)).items():
            if not isinstance(results, list):
                raise DataError(f"{path}: eval.{task_id} is not a list of results, as EvalPlus's evaluate writes them")
            for result in results:
                yield ForeignSample(str(path), task_id, _text(result, "solution", str(path)), "program")


def _evalplus_folder(path: Path) -> Iterator[ForeignSample]:
    meaning: Meaning = "raw" if path.name.endswith(RAW) else "program"
    for file in sorted(path.glob("*/*.py")):
        if not file.stem.isdecimal():
            raise DataError(f"{file}: EvalPlus names samples N.py with a number N; remove this file")
        if not file.is_file():  # reading a pipe would never end
            raise DataError(f"{file}: not a file; remove it")
        try:
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from None
        yield ForeignSample(str(file), file.parent.name.replace("_", "/"), text, meaning, int(file.stem))


def lm_eval(path: Path) -> Iterator[ForeignSample]:
    """The samples of one task, one document per line. Raises DataError.

    The filtered responses of its code tasks are the programs that it executes. The responses themselves mean different
    things: the end of a function (humaneval), of an opened code block (humaneval_instruct), or a program (mbpp).
    """
    used = ""
    for where, line in _lines(path):
        name = str(line.get("filter"))
        used = used or name
        if name != used:
            raise DataError(f"{where}: the filter is {name!r}, above it is {used!r}; keep the lines of one filter")
        doc, answers = line.get("doc"), line.get("filtered_resps")
        if not isinstance(doc, dict) or not isinstance(answers, list) or not answers:
            raise DataError(f"{where}: needs doc and filtered_resps, as lm-eval's --log_samples writes them")
        repeats = answers[0] if isinstance(answers[0], list) else answers[:1]
        for number, text in enumerate(repeats):
            if not isinstance(text, str):
                raise DataError(f"{where}: filtered_resps has no text; lm-eval's code tasks have the program there")
            yield ForeignSample(where, _field(doc, "task_id", where), text, "program", number)


def bigcode(path: Path) -> Iterator[ForeignSample]:
    """Generations: one list of programs per task, in the order of tasks. A program begins with its prompt."""
    lists = _json(path)
    if not isinstance(lists, list) or not all(isinstance(texts, list) for texts in lists):
        raise DataError(f"{path}: bigcode's generations are a list of lists of texts, one per task; this is not")
    for place, texts in enumerate(lists):
        for number, text in enumerate(texts):
            if not isinstance(text, str | None):
                raise DataError(f"{path}, list {place + 1}: has {json.dumps(text)[:40]}; generations are texts")
            if text is not None:  # null where an interrupted run has no generation yet
                yield ForeignSample(f"{path}, list {place + 1}", place, text, "program", number)


def inspect(path: Path) -> Iterator[ForeignSample]:
    """A log, as .eval or .json: the completion of every sample and epoch. Raises DataError."""
    if zipfile.is_zipfile(path):
        for name, content in members(path, "samples/"):
            yield _inspect_sample(_parsed(content, f"{path}, {name}"), f"{path}, {name}")
        return
    log = _json(path)
    samples = log.get("samples") if isinstance(log, dict) else None
    if not isinstance(samples, list):
        raise DataError(f"{path}: not a log of Inspect with samples; run Inspect without --no-log-samples")
    for number, sample in enumerate(samples, start=1):
        yield _inspect_sample(sample, f"{path}, sample {number}")


def _inspect_sample(sample: Any, where: str) -> ForeignSample:
    output = _object(sample, "output", where)
    epoch = sample.get("epoch", 1)
    if not isinstance(epoch, int) or epoch < 1:
        raise DataError(f"{where}: epoch is {json.dumps(epoch)[:40]}; Inspect counts epochs from 1")
    answered = not sample.get("error") and bool(output.get("choices"))
    text = _completion(output, where) if answered else None
    return ForeignSample(where, _field(sample, "id", where), text, "reply", epoch - 1)


def _completion(output: dict[str, Any], where: str) -> str:
    """The text of the first choice, without its reasoning."""
    if output.get("completion"):
        return _text(output, "completion", where)
    if not isinstance(output["choices"], list):
        raise DataError(f"{where}: choices is not a list")
    content = _object(output["choices"][0], "message", where).get("content")
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict) and part.get("type") == "text")
        content = "\n".join(_text(part, "text", where) for part in parts)
    if not isinstance(content, str):
        raise DataError(f"{where}: the message has no text")
    return content


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, object) per line of a JSON Lines file, holding one line at a time."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path}, line {number}"
                    data = _parsed(line, where)
                    if not isinstance(data, dict):
                        raise DataError(f"{where}: not a JSON object")
                    yield where, data
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _json(path: Path) -> Any:
    try:
        return _parsed(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _parsed(content: bytes, where: str) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from None


def _object(data: Any, name: str, where: str) -> dict[str, Any]:
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise DataError(f"{where}: has no {name}")
    return found


def _text(data: Any, name: str, where: str) -> str:
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, str):
        raise DataError(f"{where}: has no text named {name}")
    return found


def _field(data: Any, name: str, where: str) -> str:
    """A task id, which some data sets write as a number."""
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, str | int) or isinstance(found, bool):
        raise DataError(f"{where}: has no {name}")
    return str(found)
