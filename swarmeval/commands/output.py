"""What a command prints."""

import logging
import os
import sys

log = logging.getLogger("swarmeval")


def say(text: str) -> None:
    """Print what a command answers. A reader that has gone, or a full disk, costs the text and not the run."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere, in silence
        log.warning("the summary could not be printed: %s", error)  # last: what is logged may be said here as well
