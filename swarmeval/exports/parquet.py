"""Answers of runs as a Parquet file, with types and null for None. Holds one group of rows in memory."""

import itertools
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from swarmeval.exports.answer_rows import COLUMNS, rows
from swarmeval.exports.exported_run import ExportedRun
from swarmeval.files import cannot_write

GROUP = 2_000  # rows


def write(runs: Sequence[ExportedRun], path: Path) -> None:
    """Write the file, which replaces an older one only when it is complete. Raises OutputError."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with ParquetWriter(draft, schema) as writer:
            for group in _groups(itertools.chain.from_iterable(map(rows, runs))):
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
        draft.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with suppress(OSError):
            draft.unlink()


def _groups(every: Iterable[dict[str, object]]) -> Iterable[list[dict[str, object]]]:
    remaining = iter(every)
    while group := list(itertools.islice(remaining, GROUP)):
        yield group
