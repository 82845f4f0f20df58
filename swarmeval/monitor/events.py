"""Writes events.jsonl: one line per event of a device, such as a restart, for the dashboard and the report."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from swarmeval.records import Status, WorkerStatus

NAME = "events.jsonl"
# Out-of-memory messages of torch, Python, CPU allocators and transformers' sharding.
OUT_OF_MEMORY = (
    "out of memory",
    "OutOfMemoryError",
    "MemoryError",
    "can't allocate memory",
    "no memory for",
    "STATUS_ALLOC_FAILED",
)

log = logging.getLogger("swarmeval")


class Events:
    """Appends to events.jsonl. A full disk costs events, not the run."""

    def __init__(self, folder: Path, elapsed_s: Callable[[], float]) -> None:
        """`elapsed_s` is the clock that the traces use."""
        self._path = folder / NAME
        self._elapsed_s = elapsed_s
        self._complained = False
        self._seen: dict[str, WorkerStatus] = {}
        self._paused = False

    def add(self, kind: str, device: str, text: str) -> None:
        """Append an event. Thread-safe, because each line is a single write."""
        event = {"time": time.time(), "elapsed_s": round(self._elapsed_s(), 3), "kind": kind, "device": device}
        line = json.dumps({**event, "text": text}, ensure_ascii=False) + "\n"
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(line.encode(errors="replace"))
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("%s: cannot write events (%s); the run continues without them", self._path, error.strerror)

    def follow(self, status: Status) -> None:
        """Record the changes since the previous status."""
        for worker in status.workers:
            self._compare(self._seen.get(worker.device), worker)
            self._seen[worker.device] = worker
        paused = status.phase in ("draining", "interrupted")
        if paused and not self._paused:
            self.add("paused", "", status.message or "finishing running jobs; repeat the command to resume")
        self._paused = paused or self._paused

    def _compare(self, before: WorkerStatus | None, now: WorkerStatus) -> None:
        state, restarts, deaths = (before.state, before.restarts, before.deaths) if before else ("", 0, 0)
        if now.deaths > deaths and any(words in now.last_error for words in OUT_OF_MEMORY):
            self.add("out_of_memory", now.device, now.last_error)
        if now.restarts > restarts:
            self.add("restarted", now.device, now.last_error)
        if now.state == "retired" and state != "retired":
            self.add("retired", now.device, now.last_error)
