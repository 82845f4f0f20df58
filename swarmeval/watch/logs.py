"""Log handlers: run.log with rotation, and the screen."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from swarmeval.files import cannot_write
from swarmeval.secrets import scrub

NAME = "run.log"
LOGGER = "swarmeval"
MAX_BYTES, BACKUPS = 10 << 20, 5


class _Scrubbed(logging.Formatter):
    """Removes secrets from log lines, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


class _FileHandler(RotatingFileHandler):
    """A rotating log file that ignores write errors such as a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class _ScreenHandler(logging.Handler):
    """Passes formatted lines to `show`, which prints them without breaking a progress bar."""

    def __init__(self, show: Callable[[str], None], level: int) -> None:
        super().__init__(level)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(self.format(record))


@contextmanager
def log_to_file(folder: Path, max_bytes: int = MAX_BYTES) -> Iterator[None]:
    """Log to run.log in this folder during the block. Full files are rotated to run.log.1 and so on.

    Raises OutputError.
    """
    try:
        handler = _FileHandler(folder / NAME, maxBytes=max_bytes, backupCount=BACKUPS, encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder / NAME, error) from None
    handler.setFormatter(_Scrubbed("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    with _attached(handler):
        yield


@contextmanager
def log_to_screen(show: Callable[[str], None], verbose: bool) -> Iterator[None]:
    """Show warnings during the block; with `verbose`, show all messages, including those of the workers."""
    handler = _ScreenHandler(show, logging.INFO if verbose else logging.WARNING)
    handler.setFormatter(_Scrubbed("%(message)s"))
    with _attached(handler):
        yield


@contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
