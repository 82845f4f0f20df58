"""A replica without a model, for tests, dry runs and coordinator benchmarks. Its scores are meaningless.

Every answer is the prompt's function with a return of a number that depends on the job's seed. The script can inject
faults.
"""

import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Collection

from swarmeval.errors import DeviceError
from swarmeval.requests import Answer, Piece, Refusal, ReplicaInfo, Reply, Request, WorkerProgress
from swarmeval.workers.replica_spec import Script, ScriptedFault

_FENCED = re.compile(r"```python\n(.*?)```", re.DOTALL)


class ScriptedReplica:
    """Answers after `Script.steps` steps. `device` and `life` select its faults from the script."""

    def __init__(self, script: Script, device: str, life: int) -> None:
        """Carry out the script's load faults, if any."""
        self._script = script
        self._device = device
        self._faults = [f for f in script.faults if life < f.lives and f.device in ("", device)]
        self._waiting: deque[tuple[Request, float]] = deque()
        self._rows: dict[str, _ScriptedRow] = {}
        self._answered = 0
        self._tokens = 0
        time.sleep(script.load_s)
        for fault in self._faults:
            if fault.kind.startswith("load_"):
                self._strike(fault)

    def info(self) -> ReplicaInfo:
        return ReplicaInfo(
            engine="scripted",
            model="scripted",
            device=self._device,
            rows=self._script.rows,
            max_context_tokens=1 << 20,
            chat_template_sha256="scripted",
            weights="none",
            compute_dtype="none",
            memory_mb=0.0,
            load_s=0.0,
            steady=True,
            fills_gaps=True,
        )

    def submit(self, request: Request) -> None:
        self._waiting.append((request, time.perf_counter()))

    def step(self) -> list[Answer]:
        if self._script.step_s:
            time.sleep(self._script.step_s)
        while self._waiting and len(self._rows) < self._script.rows * self._script.jobs_per_row:
            request, submitted = self._waiting.popleft()
            self._rows[request.job_id] = _ScriptedRow(request, submitted, time.perf_counter(), self._script.steps)
        answers: list[Answer] = []
        for row in list(self._rows.values()):
            row.steps_left -= 1
            if row.steps_left <= 0:
                del self._rows[row.request.job_id]
                answers.append(self._answer(row))
        return answers

    def pieces(self) -> list[Piece]:
        """One line of the answer per step, as long as steps remain."""
        pieces = []
        for row in self._rows.values():
            done = row.steps - row.steps_left
            lines = _reply_to(row.request).splitlines(keepends=True)
            if row.request.stream and 0 < done < len(lines):
                pieces.append(Piece(row.request.job_id, lines[done - 1], done, len("".join(lines)) // 4))
        return pieces

    def drop_waiting(self) -> list[str]:
        dropped = [request.job_id for request, _ in self._waiting]
        self._waiting.clear()
        return dropped

    def cancel(self, job_ids: Collection[str]) -> None:
        self._waiting = deque(item for item in self._waiting if item[0].job_id not in job_ids)
        for job_id in job_ids:
            self._rows.pop(job_id, None)

    def progress(self) -> WorkerProgress:
        rows_in_use = -(-len(self._rows) // self._script.jobs_per_row)
        return WorkerProgress(rows_in_use, len(self._waiting), self._tokens, computed_tokens=self._tokens)

    def busy(self) -> bool:
        return bool(self._rows or self._waiting)

    def _answer(self, row: "_ScriptedRow") -> Answer:
        self._answered += 1
        for fault in self._faults:
            if fault.kind == "refuse" and self._answered > fault.after:
                return Refusal(row.request.job_id, "the script refuses", retry=True)
            if fault.after == self._answered - 1:
                self._strike(fault)
        text = _reply_to(row.request)
        tokens = 1 + row.request.seed % 64
        self._tokens += tokens
        now = time.perf_counter()
        return Reply(
            job_id=row.request.job_id,
            text=text,
            prompt_tokens=len(text) // 4,
            output_tokens=tokens,
            computed_tokens=tokens,
            queue_s=row.admitted - row.submitted,
            ttft_s=row.admitted - row.submitted,
            latency_s=now - row.submitted,
            finish_reason="stop",
            marks=_marks(tokens, len(text)) if row.request.marks else (),
        )

    def _strike(self, fault: ScriptedFault) -> None:
        match fault.kind:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang" | "load_hang":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "exit" | "load_exit":
                os._exit(7)
            case "garbage":
                os.write(int(sys.argv[1]), b"\x00\x00\x00\x03abc")
            case "raise":
                raise MemoryError("the script ran out of memory")
            case "load_raise":
                raise DeviceError("the script finds no device")


class _ScriptedRow:
    def __init__(self, request: Request, submitted: float, admitted: float, steps: int) -> None:
        self.request = request
        self.submitted = submitted
        self.admitted = admitted
        self.steps = self.steps_left = steps


def _marks(tokens: int, length: int) -> tuple[tuple[int, int], ...]:
    """Marks of a text whose tokens have about the same number of characters."""
    powers = (1 << k for k in range((tokens - 1).bit_length()))
    return tuple((power, length * power // tokens) for power in powers)


def _reply_to(request: Request) -> str:
    body = f"    return {request.seed % 7}\n"
    if request.suffix is not None:
        return body
    if request.text is not None:
        return "\n" + body
    block = _FENCED.search(request.messages[-1].content)
    code = block.group(1) if block else request.messages[-1].content
    return f"```python\n{code.rstrip()}\n{body}```"
