"""Output of commands."""

import logging
import os
import sys

log = logging.getLogger("swarmeval")


def say(text: str) -> None:
    """Print the output of a command. A closed pipe or a full disk loses the text but does not end the run."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the buffered text
        log.warning("the summary could not be printed: %s", error)  # last: log lines may go to stdout as well
