"""Writing files so that a reader or a crash never meets half of one."""

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
    remedy = "make room and run the same command again" if full else "fix this or choose another --output_dir"
    return OutputError(f"{path}: cannot be written ({error.strerror}); {remedy}")


@contextmanager
def replaced(path: Path, durable: bool = False) -> Iterator[TextIO]:
    """A text file that takes the place of `path` when the block ends well, and vanishes when it does not.

    A `durable` one survives a power cut as the old or the new file, which costs a wait for the disk. What is no text,
    half of a surrogate pair, is written as its escape. Raises OutputError when it cannot be written.
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
        with suppress(OSError):  # on a disk that is read-only even what is not there cannot be removed
            draft.unlink()
