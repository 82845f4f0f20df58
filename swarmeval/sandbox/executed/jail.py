"""Runs the commands of executed programs, one after another, and cleans up after each program.

Messages, each a JSON frame: {"files": [[path, text], ...]} makes a new folder with these files and is answered with {}.
{"argv", "environment", "timeout_s", "memory_mb", "most_output", "stdin": bytes} and the input itself run a command in
this folder; the answer is {"end", "status", "cannot_run", "peak_mb", "cpu_s", "wall_s", "stdout": bytes, "stderr":
bytes} and the output itself. "cannot_run": whether a command outside the folder could not be started. While it runs,
{"running"} messages precede the answer. Expected outputs never enter the jail.
"""

import fcntl
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any, NoReturn

from swarmeval.sandbox.executed.processes import ResourceMeter
from swarmeval.sandbox.frames import read_frame, write_frame
from swarmeval.sandbox.jail import clear, end_everything
from swarmeval.sandbox.layers.guard import Guard, ProcessLimits
from swarmeval.sandbox.layers.kernel import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, prctl

PIECE = 1 << 16
MOST_ERRORS = 1 << 14  # bytes kept of the beginning and of the end of the standard error
MESSAGE_S = 10.0  # between two messages that a command is running
CANNOT_RUN = 127  # exit code of a command that cannot be started
STDERR = 2
CANNOT_RUN_MARK = 3  # descriptor that is closed when the command starts; before, the child can write a mark to it
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Stream:
    """An output of a command: its first bytes and, if wanted, its last ones."""

    def __init__(self, descriptor: int, most: int, most_at_end: int = 0) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.is_open = True
        self.is_cut = False  # whether there was more than the first bytes, and no end is wanted
        self._most, self._most_at_end = most, most_at_end
        self._first, self._end = bytearray(), bytearray()

    @property
    def text(self) -> bytes:
        return bytes(self._first + self._end)

    def read(self) -> bool:
        """Read what is there; return whether there was something."""
        try:
            piece = os.read(self.descriptor, PIECE)
        except BlockingIOError:
            return False
        self.is_open = bool(piece)
        room = self._most - len(self._first)
        self._first += piece[:room]
        if len(piece) > room and self._most_at_end:
            self._end = (self._end + piece[room:])[-self._most_at_end :]
        elif len(piece) > room:
            self.is_cut = True
        return self.is_open

    def drain(self) -> None:
        """Read the rest, after all processes have ended."""
        while self.is_open and not self.is_cut and self.read():
            pass

    def close(self) -> None:
        os.close(self.descriptor)


class ExecutionJail:
    """Runs one command at a time until the other end of its link closes."""

    def __init__(self, link: socket.socket, guard: Guard, folder: str) -> None:
        """`folder`: the parent folder of the program's folder."""
        self._link = link
        self._guard = guard
        self._parent = folder
        self._mode = Path(folder).stat().st_mode
        self._folder = f"{folder}/program"
        self._pid = os.getpid()
        self._is_first = self._pid == 1
        if not self._is_first:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_DUMPABLE, 0)  # a program of the same user must not see this process in /proc

    def serve(self) -> None:
        while (request := read_frame(self._link)) is not None:
            try:
                if "files" in request[0]:
                    self._begin(request[0]["files"])
                    write_frame(self._link, {})
                else:
                    self._answer(request[0])
            except OSError as error:
                write_frame(self._link, {"broken": str(error)})

    def _begin(self, files: list[tuple[str, str]]) -> None:
        """Remove everything that the last program left, and write the files of the next one."""
        if not self._guard.start_over():
            clear(Path(self._parent), self._mode)
        os.mkdir(self._folder, 0o700)  # noqa: PTH102
        self._guard.own(self._folder)
        for name, text in files:
            path = Path(self._folder, name)
            for folder in reversed(path.relative_to(self._folder).parents[:-1]):
                Path(self._folder, folder).mkdir(0o755, exist_ok=True)
                self._guard.own(f"{self._folder}/{folder}")
            path.write_bytes(text.encode(errors="surrogatepass"))

    def _answer(self, order: dict[str, Any]) -> None:
        stdin = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            fill(stdin, self._link, order["stdin"])
            answer, output, errors = self._run(order, stdin)
        finally:
            os.close(stdin)
        write_frame(self._link, {**answer, "stdout": len(output), "stderr": len(errors)})
        self._link.sendall(output)
        self._link.sendall(errors)

    def _run(self, order: dict[str, Any], stdin: int) -> tuple[dict[str, Any], bytes, bytes]:
        """Run a command; return how it ended, its output, and the beginning and the end of its errors."""
        limits = ProcessLimits(order["timeout_s"], order["memory_mb"], bounds_cpu=False)
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        try:
            self._restore_folder()
            self._guard.before_fork(self._folder, limits)
            for _, writable in pipes[:2]:
                self._guard.own(writable)  # for programs that open /dev/stdout or /dev/stderr
            child = os.fork()
            if child == 0:
                self._become(order, [stdin, *(writable for _, writable in pipes)])
        finally:
            for _, writable in pipes:
                os.close(writable)
        meter = ResourceMeter(self._guard.proc, self._pid, limits.timeout_s, limits.memory_mb)
        streams = [Stream(pipes[0][0], order["most_output"]), Stream(pipes[1][0], MOST_ERRORS, MOST_ERRORS)]
        mark = Stream(pipes[2][0], 1)
        try:
            try:
                end = self._watch(child, meter, streams)
                wall_s = time.monotonic() - meter.started
            finally:
                status, used = end_everything(child, self._is_first)
            for stream in (*streams, mark):
                stream.drain()
        finally:
            for stream in (*streams, mark):
                stream.close()
        answer = {
            "end": "output" if streams[0].is_cut else end, "status": status, "cannot_run": bool(mark.text),
            "peak_mb": meter.peak_mb, "cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall_s,
        }  # fmt: skip
        return answer, streams[0].text, streams[1].text

    def _restore_folder(self) -> None:
        """Make the program's folder if an earlier run removed it, or replaced it by a link that we would follow."""
        path = Path(self._folder)
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            path.mkdir(0o700)

    def _become(self, order: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """Become the command, confined. `descriptors`: its standard streams and the one for CANNOT_RUN_MARK."""
        command = order["argv"][0]
        try:
            for number, descriptor in enumerate(descriptors):
                if descriptor != number:
                    os.dup2(descriptor, number, inheritable=number <= STDERR)
            for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            own = {"HOME": self._folder, "TMPDIR": self._folder}
            self._guard.confine(self._folder, CANNOT_RUN_MARK + 1, self._pid)
            try:
                os.execve(command, order["argv"], {**own, **order["environment"]})
            except OSError:
                if os.path.isabs(command):  # noqa: PTH117 (otherwise the program's own file, which it may remove)
                    os.write(CANNOT_RUN_MARK, b"!")
                raise
        except OSError as error:
            os.write(STDERR, f"{command}: {error.strerror or error}\n".encode())
        finally:
            os._exit(CANNOT_RUN)

    def _watch(self, child: int, meter: ResourceMeter, streams: list[Stream]) -> str:
        """Wait until the command has "ended", or has reached its "limit", its "memory" or the most "output"."""
        told = meter.started
        handle = os.pidfd_open(child)
        try:
            while not (exceeded := meter.exceeded()):
                output = [stream for stream in streams if stream.is_open]
                watched: list[int | socket.socket] = [handle, self._link, *(stream.descriptor for stream in output)]
                readable = select.select(watched, [], [], meter.wait_s())[0]
                if self._link in readable:
                    raise SystemExit  # the warden is gone: it sends nothing while a command runs
                for stream in output:
                    if stream.descriptor in readable:
                        stream.read()
                if handle in readable:
                    return "ended"
                if streams[0].is_cut:
                    return "output"
                if time.monotonic() - told > MESSAGE_S:
                    write_frame(self._link, {"running": True})
                    told = time.monotonic()
        finally:
            os.close(handle)
        return exceeded


def fill(descriptor: int, link: socket.socket, size: int) -> None:
    """Move the input of a command from the link to a file in memory, sealed against changes."""
    left = size
    while left:
        piece = link.recv(min(left, PIECE))
        if not piece:
            raise SystemExit  # the warden is gone
        os.write(descriptor, piece)
        left -= len(piece)
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
