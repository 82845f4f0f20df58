"""The end of a session: its recorded reason and its report page."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swarmeval.errors import UserError
from swarmeval.location import command

FINISHED, DRAINED, STOPPED = "finished", "drained", "stopped"

log = logging.getLogger("swarmeval")


@dataclass(slots=True)
class Reason:
    """The reason for the end of a session, as recorded in the manifest."""

    text: str = "failed: a bug in Swarmeval; see the traceback on the screen"


@contextlib.contextmanager
def recording_end(reason: Reason) -> Iterator[None]:
    """Set `reason` if the block ends early; on success the block sets it. Ctrl-C ends the block without an error.

    Raises the UserError that ended the block, unwrapped if it was part of a group.
    """
    try:
        yield
    except (asyncio.CancelledError, KeyboardInterrupt):
        reason.text = STOPPED
    except BaseExceptionGroup as group:
        error = user_error(group)
        reason.text = f"failed: {error}"
        raise error from None
    except UserError as error:
        reason.text = f"failed: {error}"
        raise


def page(name: str, folder: Path, write: Callable[[], Path]) -> Path | None:
    """Write a page and return its path. If that fails, log the reason and return None."""
    try:
        return write()
    except UserError as error:
        why = str(error)
    except KeyboardInterrupt:
        why = "interrupted"
    except Exception as error:  # a page that fails must not fail a finished run
        why = f"{type(error).__name__}: {error}"
        log.info("writing %s failed:", name, exc_info=True)  # a bug: its traceback goes to run.log
    log.warning("%s was not written: %s; to write it later: %s report %s", name, why, command(), folder)
    return None


def user_error(group: BaseExceptionGroup[BaseException]) -> UserError:
    """The first UserError of a group of UserErrors. A group that contains another exception is re-raised."""
    mine, others = group.split(UserError)
    if mine is None or others is not None:
        raise group
    error: BaseException = mine
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, UserError)
    return error
