"""Writes files atomically, so that neither a reader nor a crash sees a partial file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from swarmeval.errors import OutputError


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The one-line error for a file that could not be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free disk space, then repeat the command" if full else "fix this or choose another --output_dir"
    return OutputError(f"{path}: cannot be written ({error.strerror}); {remedy}")


def make_folder(path: Path) -> None:
    """Create a folder and its parents, if needed. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None


@contextmanager
def replaced(path: Path, durable: bool = False) -> Iterator[TextIO]:
    """Open a text file that replaces `path` if the block succeeds, and is removed if it fails.

    With `durable`, either the old or the new file survives a power failure, at the cost of waiting for the disk. Lone
    surrogates are written as escapes. Raises OutputError if the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with suppress(OSError):  # unlink fails on a read-only disk even if the file does not exist
            draft.unlink()
