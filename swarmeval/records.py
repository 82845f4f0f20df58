"""The frozen records that pass through a run. Contains no code that acts on them.

Records stored in the journal are Structs. Their field names in code may change, but not their keys in files.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import Struct

from swarmeval.executed import Executed

Form = Literal["reply", "completion", "solution"]
Answer = Literal["function", "program", "expression"]  # kinds of code that a task asks for


class Outcome(StrEnum):
    """The result of running a candidate against its tests."""

    PASSED = "PASSED"
    WRONG_ANSWER = "WRONG_ANSWER"  # an assertion of the tests failed
    RAISED = "RAISED"
    TIMED_OUT = "TIMED_OUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    BAD_SYNTAX = "BAD_SYNTAX"
    EMPTY = "EMPTY"  # the reply contained no code
    CRASHED = "CRASHED"  # the interpreter crashed with no output: signal, os._exit
    TAMPERED = "TAMPERED"  # the program interfered with its own judging


NOT_EXECUTED = (Outcome.EMPTY, Outcome.BAD_SYNTAX)
NOT_GENERATED = "NOT_GENERATED"  # represents a Failure in files that need an outcome


@dataclass(frozen=True, slots=True)
class Agent:
    """One independent sampler. For values that are None, the run's setting applies."""

    id: int
    seed: int
    name: str | None = None
    system_prompt: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: tuple[tuple[int, float], ...] | None = None  # (token id, what is added to its logit)
    samples: int = 1
    repairs: int = 0  # number of further attempts after a failing verdict
    adapter: str = ""  # name of the LoRA adapter that answers; "": none


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of a task: source code that runs after a solution and calls its entry point."""

    entry_point: str
    text: str
    context: str = ""  # source code of other names that the tests use, as defined by the benchmark


@dataclass(frozen=True, slots=True)
class Task:
    """One benchmark problem."""

    task_id: str
    prompt: str  # source code before the completion, in the program and for a model in completion mode
    suite: Suite
    question: str = ""  # text for a chat model; "" if it is asked to complete the prompt
    preamble: str = ""  # text before the prompt in completion mode, which is not part of the program
    reference: str = ""  # the benchmark's reference completion; "" if there is none
    base: Suite | None = None  # tests of the base problem of a self-invoking task
    executed: Executed | None = None  # how its program is executed; None: its tests call the entry point
    answer: Answer = "function"
    ending: str = ""  # source code after the completion, in the program
    stops: tuple[str, ...] | None = None  # texts that end a reply in completion mode; None: the usual ones
    infilling: bool = False  # in completion mode, a model gets prompt and ending as prefix and suffix, even if empty

    @property
    def entry_point(self) -> str:
        return self.suite.entry_point

    @property
    def language(self) -> str:
        return self.executed.language if self.executed is not None else "python"


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
    """Parse a job_id. Raises ValueError if it is malformed. A task id may contain slashes."""
    return Job(*split_job_id(job_id))


def split_job_id(job_id: str) -> tuple[int, str, int, int]:
    """(agent_id, task_id, sample, round). Takes half the time of parse_job_id, for use with millions of ids."""
    agent, _, rest = job_id.partition("/")
    task_id, sample, round_ = rest.rsplit("/", 2)
    return int(agent), task_id, int(sample), int(round_)


class Completion(Struct, frozen=True):
    """One model reply to one job, unchanged if it is valid text."""

    job_id: str
    reply: str = msgspec.field(name="text")
    form: Form = "reply"  # kind of text: raw reply, human-eval completion, or whole program
    device: str = ""  # physical device, "cuda:3" or "cpu:0"; "" if imported
    batch_id: int = -1
    attempts: int = 1
    prompt_tokens: int = 0
    output_tokens: int = 0
    queue_s: float = 0.0  # submit -> admitted
    ttft_s: float = 0.0  # submit -> first token
    latency_s: float = 0.0  # submit -> last token, for this job only
    finish_reason: str = ""  # "stop" (end of text or stop string), "length", or a server's own word
    finished_at: float = 0.0  # Unix time
    elapsed_s: float = 0.0  # monotonic, since generation began in this session
    note: str = ""  # describes replaced characters, if any
    computed_tokens: int | None = None  # output tokens computed for this job alone; None if unknown
    reasoning: str = ""  # the thoughts before the reply
    reasoning_tokens: int | None = None  # of output_tokens, those up to the end of the thoughts; None if unknown
    marks: tuple[tuple[int, int], ...] = ()  # (output tokens, characters of the reply that they completed)

    @property
    def cut(self) -> bool:
        """Whether the limit on tokens ended the reply."""
        return self.finish_reason == "length"

    @property
    def unanswered(self) -> str:
        """The ending of a reply that has a thought but no answer; "" for other replies."""
        if not self.reasoning or self.reply.strip():
            return ""
        return "truncated while thinking" if self.cut else "ended while thinking"

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token after the first; None if there is no second token."""
        if self.output_tokens < 2:
            return None
        return (self.latency_s - self.ttft_s) / (self.output_tokens - 1)


class Failure(Struct, frozen=True):
    """A job without a completion, and the reason. Never counted as a wrong answer."""

    job_id: str
    reason: str
    attempts: int
    device: str = ""
    finished_at: float = 0.0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Code extracted from a completion, as the reference evaluator would append it to the prompt."""

    code: str  # prompt + code + tests is exactly the program that runs
    error: str | None = None  # None if the program parses, else the error with its line
    outcome: Outcome | None = None  # EMPTY or BAD_SYNTAX if there is nothing to run
    note: str = ""  # how the code was found ("fence", "whole reply", ...), and any repairs


@dataclass(frozen=True, slots=True)
class Program:
    """A program for the sandbox: an untrusted solution and trusted tests."""

    solution: str
    tests: str = ""  # run after the solution, in its namespace; "" if the program only has to exit normally
    entry_point: str = ""  # name of the tested function, which takes and returns plain data
    context: str = ""  # source code of other names that the tests use, as defined by the benchmark
    beside: bool = False  # whether the tests run in the program's process, because they need more than plain data
    is_reference: bool = False  # whether it is the reference solution, which shows how the tests call a solution
    executed: Executed | None = None  # how it is executed; None: by calls, or beside its tests in one process
    memory_mb: int | None = None  # address space if it is not executed; None: that of the session
    owner: str = ""  # who wrote the tests; those of different owners never share a process

    @property
    def text(self) -> str:
        """Solution and tests as one source, as the reference evaluator would run it."""
        return f"{self.solution}\n{self.tests}" if self.tests else self.solution


@dataclass(frozen=True, slots=True)
class Execution:
    """The result of running one sandboxed program."""

    outcome: Outcome
    detail: str = ""  # one line: exception and message, signal, limit
    wall_s: float = 0.0
    cpu_s: float = 0.0  # of the program's own process
    unconfirmed: bool = False  # whether the tests ran in the program's process, where it can deceive them


class Verdict(Struct, frozen=True):
    """The result of judging one completion."""

    job_id: str
    outcome: Outcome
    code: str = msgspec.field(name="completion")  # the judged Candidate.code
    detail: str = ""
    judge_s: float = 0.0
    note: str = ""  # Candidate.note: how the code was found
    base: Outcome | None = None  # outcome of the base problem's tests, if the task has one
    unconfirmed: bool = False  # whether the tests ran in the program's process, where it can deceive them
    shared: bool = False  # whether an equal program had been executed, so that this one was not

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def ran_out(self) -> bool:
        """Whether the program exceeded its time limit, in the tests of the task or of its base problem."""
        return Outcome.TIMED_OUT in (self.outcome, self.base)

    @property
    def executed(self) -> bool:
        """Whether a program was executed for this verdict. Without valid code there is nothing to execute."""
        return not self.shared and self.outcome not in NOT_EXECUTED


@dataclass(frozen=True, slots=True)
class Attempt:
    """A judged answer, from which a repair starts."""

    completion: Completion
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Status:
    """The contents of status.json: the state of a run in progress, for viewers."""

    run_id: str
    pid: int  # of the coordinator
    phase: str  # loading, generating, judging, auditing, draining, done, interrupted, failed
    updated_at: float
    total_jobs: int
    done_jobs: int = 0  # completions and failures, in all sessions
    failures: int = 0
    judged: int = 0
    passed: int = 0
    elapsed_s: float = 0.0  # generation time of this session
    jobs_per_s: float | None = None  # over this session
    tokens_per_s: float | None = None  # delivered
    output_tokens: int = 0  # delivered in this session, unfinished answers included
    computed_tokens_per_s: float | None = None
    computed_tokens: int | None = None  # that went through the model in this session; None if unknown
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
    in_flight: int = 0  # jobs sent to it and not answered yet
    rows_in_use: int = 0
    done_jobs: int = 0
    restarts: int = 0
    deaths: int = 0
    last_error: str = ""  # reason of its last death
    loading: str = ""  # the step of loading that it is at
