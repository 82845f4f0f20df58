"""A confined process, from the fork to its report: READY, then the name of an outcome, a newline and a detail.

Reports are written without any module that the program could replace, such as json. No code of the program runs before
READY, so a report of BROKEN and a reason in its place can only come from the sandbox.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from swarmeval.sandbox import program_side, streamed_output, tests_side
from swarmeval.sandbox.execution import run, silence
from swarmeval.sandbox.frames import read_all
from swarmeval.sandbox.layers.guard import Guard

CHANNEL, PEER = 3, 4  # descriptors of the child: to the warden, and to another child
READY = b"\n"  # the program starts next
BROKEN = b"!"

KINDS: dict[str, Callable[[dict[str, Any]], Iterable[bytes]]] = {
    "run": lambda work: run(work["program"]),
    "serve_calls": lambda work: [program_side.serve(work["program"], work["entry_point"], PEER)],
    "run_tests": lambda _: tests_side.serve(CHANNEL),
    "stream": lambda work: streamed_output.serve(work["program"], work["data"], CHANNEL),
}


def become_child(guard: Guard, kind: str, folder: str, descriptors: Sequence[int], parent: int) -> NoReturn:
    """Confine this process, run the work from the channel and report."""
    write, leave = os.write, os._exit  # a program may replace the attributes of `os`
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
        leave(0)  # a child must never return into its parent's code


def take(descriptors: Sequence[int]) -> int:
    """Move the descriptors to CHANNEL and PEER, and /dev/null to the standard streams; return the first free number."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64) for descriptor in descriptors]
    for number, descriptor in enumerate(high, CHANNEL):
        os.dup2(descriptor, number)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    return CHANNEL + len(high)
