"""How sessions end: why, and with which pages."""

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
    """Why a session ended, as the manifest says it."""

    text: str = "failed: a fault of Swarmeval itself; its traceback is on the screen"


@contextlib.contextmanager
def recording_end(reason: Reason) -> Iterator[None]:
    """Run a session and learn why it ended; who is inside says so where it ends well. What the user did ends the block.

    Raises the UserError that ended it, alone also where it came in a group.
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
    """The page that `write` makes; where that fails the log says so, and the run is what it was."""
    try:
        return write()
    except UserError as error:
        why = str(error)
    except KeyboardInterrupt:
        why = "interrupted"
    except Exception as error:  # whatever is wrong with a page, the run has ended
        why = f"{type(error).__name__}: {error}"
        log.info("of %s:", name, exc_info=True)  # a fault of ours: run.log has its traceback
    log.warning("no %s: %s; `%s report %s` makes it later", name, why, command(), folder)
    return None


def user_error(group: BaseExceptionGroup[BaseException]) -> UserError:
    """The first UserError of a group of nothing else; a group with a fault of ours is raised as it is."""
    mine, others = group.split(UserError)
    if mine is None or others is not None:
        raise group
    error: BaseException = mine
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, UserError)
    return error
