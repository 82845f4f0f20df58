"""A confined process, from fork to its report: READY, then an outcome's name, a newline and a detail.

Nothing that a program can replace (json, for example) stands between an outcome and the channel. Before READY, no code
of the program has run, so BROKEN and a reason in its place come from the sandbox itself.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from swarmeval.sandbox import program_side, streamed_output, tests_side
from swarmeval.sandbox.execution import run, silence
from swarmeval.sandbox.frames import read_all
from swarmeval.sandbox.layers.guard import Guard

CHANNEL, PEER = 3, 4  # descriptors of a child: its channel to the warden, and its socket to another child
READY = b"\n"  # sent immediately before the program starts
BROKEN = b"!"

KINDS: dict[str, Callable[[dict[str, Any]], Iterable[bytes]]] = {
    "run": lambda work: run(work["program"]),
    "serve_calls": lambda work: [program_side.serve(work["program"], work["entry_point"], PEER)],
    "run_tests": lambda _: tests_side.serve(CHANNEL),
    "stream": lambda work: streamed_output.serve(work["program"], work["data"], CHANNEL),
}


def become_child(guard: Guard, kind: str, folder: str, descriptors: Sequence[int], parent: int) -> NoReturn:
    """Confine this process, do the work that the channel describes, report once.

    A program may replace functions of `os`, so two of them are looked up first.
    """
    write, leave = os.write, os._exit
    try:
        try:
            keep = take(descriptors)
            guard.confine(folder, keep, parent)
            work = read_all(CHANNEL)
        except (OSError, ValueError) as error:
            write(CHANNEL, BROKEN + str(error).encode())
            leave(1)
        os.environ["TMPDIR"] = folder
        silence()
        do = KINDS[kind]
        write(CHANNEL, READY)
        for piece in do(work):
            write(CHANNEL, piece + b"\n")
    finally:
        leave(0)  # even after an error, a child never returns into its parent's code


def take(descriptors: Sequence[int]) -> int:
    """Move the descriptors to CHANNEL and PEER, and /dev/null to the standard streams; return the first free number."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64) for descriptor in descriptors]
    for number, descriptor in enumerate(high, CHANNEL):
        os.dup2(descriptor, number)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    return CHANNEL + len(high)
