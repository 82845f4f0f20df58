"""POST /submit and the prompts of its datasets, as in SandboxFusion.

Source: bytedance/SandboxFusion, sandbox/server/online_judge_api.py and sandbox/datasets/. A dataset is the benchmark of
this server or, in `provided_data`, one task in the form of its HumanEvalDataset or CommonOJDataset. All completions are
judged as raw replies. Other classes and options are refused by name.
"""

from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, field

from swarmeval.errors import SandboxError
from swarmeval.records import Outcome, Task, Verdict
from swarmeval.serving.errors import BadRequest, NotFound
from swarmeval.serving.judge.items import Item, Work, work_of
from swarmeval.serving.judge.sandbox_fusion import (
    FAILED,
    FINISHED,
    SANDBOX_ERROR,
    SUCCESS,
    TIME_LIMIT_EXCEEDED,
    own_language,
    read,
    response_of,
)
from swarmeval.serving.judge.service import JudgeService

ALIASES = {"humaneval": "humaneval_python", "livecodebench": "live_code_bench_v1"}  # own name -> SandboxFusion's
FUNCTIONS, PROGRAMS = "HumanEvalDataset", "CommonOJDataset"
RELATIVE_ERROR = 1e-5  # that SandboxFusion accepts in numbers


class DatasetConfig(Struct, forbid_unknown_fields=True):
    """`config` of a submission (TestConfig there)."""

    dataset_type: str | None = None
    language: str | None = None
    locale: str | None = None  # of prompts, which are as the benchmark has them
    is_fewshot: bool | None = None
    compile_timeout: float | None = None
    run_timeout: float | None = None
    custom_extract_logic: str | None = None
    provided_data: dict[str, Any] | list[dict[str, Any]] | None = None
    extra: dict[str, Any] = {}


class SubmissionForm(Struct, forbid_unknown_fields=True):
    """The body of POST /submit."""

    dataset: str
    id: int | str
    completion: str
    config: DatasetConfig = field(default_factory=DatasetConfig)


class PromptForm(Struct, forbid_unknown_fields=True):
    """The body of POST /get_prompt_by_id."""

    dataset: str
    id: int | str
    config: DatasetConfig = field(default_factory=DatasetConfig)


class PromptsForm(Struct, forbid_unknown_fields=True):
    """The body of POST /get_prompts."""

    dataset: str
    config: DatasetConfig = field(default_factory=DatasetConfig)
    offset: int = 0
    limit: int = 1_000_000


class StdioCase(Struct, forbid_unknown_fields=True):
    """One test of CommonOJDataset."""

    input: dict[str, str]
    output: dict[str, str]


class Submissions:
    """Answers calls about the benchmark of this server, by its own name or that of SandboxFusion."""

    def __init__(self, service: JudgeService, benchmark: str) -> None:
        self._service = service
        self._names = [benchmark, *([ALIASES[benchmark]] if benchmark in ALIASES else [])]

    def names(self) -> list[str]:
        return self._names

    async def submit(self, body: bytes, client: str) -> dict[str, Any]:
        """The result of one submission. Raises ApiError."""
        form, service = read(body, SubmissionForm), self._service
        work = await service.read(body, client, partial(self._work, form, client))
        try:
            verdict = await service.verdict(work, client)
        except SandboxError as error:
            service.metrics.failure()
            failed = {**response_of(SANDBOX_ERROR), "message": str(error)}
            return result(form.id, work, "", failed)
        return result(form.id, work, verdict.code, execution_of(verdict))

    def _work(self, form: SubmissionForm, client: str) -> Work:
        """The checked submission. Raises BadRequest, NotFound."""
        service = self._service
        try:
            check_options(form.config)
            task = self._task_id(form) if form.config.provided_data is None else self._provided(form.config)
            item = Item(form.id, task, reply=form.completion, timeout_s=form.config.run_timeout)
            return work_of(item, client, service.tasks, service.toolchains, service.maxima)
        except ValueError as error:
            raise BadRequest(str(error)) from None

    async def prompts(self, body: bytes, client: str) -> list[dict[str, Any]]:
        """The prompts of the benchmark, in its order. Raises ApiError."""
        form = read(body, PromptsForm)
        self._check_name(form.dataset)
        tasks = list(self._service.tasks.values())[max(0, form.offset) :][: max(0, form.limit)]
        return [prompt_of(task) for task in tasks]

    async def prompt(self, body: bytes, client: str) -> dict[str, Any]:
        """The prompt of one task. Raises ApiError."""
        return prompt_of(self._service.tasks[self._task_id(read(body, PromptForm))])

    def _check_name(self, dataset: str) -> None:
        if dataset not in self._names:
            raise NotFound(f"dataset {dataset[:99]!r} is not offered; this server has {', '.join(self._names)}")

    def _task_id(self, form: SubmissionForm | PromptForm) -> str:
        """The id of the benchmark's task: as written there, or its number. Raises NotFound."""
        self._check_name(form.dataset)
        tasks = self._service.tasks
        if str(form.id) in tasks:
            return str(form.id)
        found = [task_id for task_id in tasks if task_id.rpartition("/")[2] == str(form.id)]
        if len(found) != 1:
            raise NotFound(
                f"id {str(form.id)[:99]!r} is not a task of {form.dataset}; the first is {next(iter(tasks))}"
            )
        return found[0]

    def _provided(self, config: DatasetConfig) -> dict[str, Any]:
        """The stated task that `provided_data` holds. Raises ValueError."""
        row = config.provided_data
        if not isinstance(row, dict):
            raise ValueError("config.provided_data of a submission is one task, not a list")
        if config.dataset_type == FUNCTIONS:
            if "tests" in row or (config.language or "python") != "python":
                raise ValueError(f"{FUNCTIONS} is only offered for Python functions with a field `test`")
            return {name: row[name] for name in ("prompt", "entry_point", "test", "canonical_solution") if name in row}
        if config.dataset_type == PROGRAMS:
            language = own_language(config.language or "", self._service.toolchains)
            return {
                "language": language,
                "question": row.get("content") or "-",
                "cases": [stdio_case(case) for case in cases_in(row)],
                "comparison": {"rule": "numbers", "tolerance": RELATIVE_ERROR},
            }
        raise ValueError(
            f"config.dataset_type {config.dataset_type!r} is not offered with provided_data; "
            f"use {FUNCTIONS} or {PROGRAMS}"
        )


def check_options(config: DatasetConfig) -> None:
    """Raise ValueError for options that would change a verdict and are not offered."""
    for name in ("custom_extract_logic", "compile_timeout"):
        if getattr(config, name) is not None:
            raise ValueError(f"config.{name} is not offered; remove it")
    if unknown := sorted(set(config.extra) - {"is_freeform"}):  # without effect: raw replies may be either
        raise ValueError(f"config.extra.{unknown[0][:99]} is not offered; remove it")


def cases_in(row: dict[str, Any]) -> list[StdioCase]:
    test = row.get("test")
    try:
        if isinstance(test, str):
            return msgspec.json.decode(test, type=list[StdioCase])
        return msgspec.convert(test, list[StdioCase])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"config.provided_data.test: {error}") from None


def stdio_case(case: StdioCase) -> dict[str, str]:
    """A case that reads standard input and writes standard output. Raises ValueError for one with files."""
    if set(case.input) - {"stdin"} or set(case.output) - {"stdout"}:
        raise ValueError("config.provided_data.test: only stdin and stdout are offered, not files")
    return {"stdin": case.input.get("stdin", ""), "expected": case.output.get("stdout", "")}


def execution_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict as the response of /run_code. The output of judged programs is not kept."""
    status = TIME_LIMIT_EXCEEDED if verdict.outcome is Outcome.TIMED_OUT else FINISHED
    run = {
        "status": status,
        "execution_time": verdict.judge_s,
        "return_code": None if status == TIME_LIMIT_EXCEEDED else 0 if verdict.passed else 1,
        "stdout": "",
        "stderr": verdict.detail,
    }
    return {**response_of(SUCCESS if verdict.passed else FAILED, run_result=run), "message": verdict.outcome}


def result(item_id: int | str, work: Work, code: str, execution: dict[str, Any]) -> dict[str, Any]:
    """The response of /submit, with one test: the whole suite."""
    passed, task = execution["status"] == SUCCESS, work.task
    code = code.encode(errors="replace").decode()  # escapes in a reply may stand for lone surrogates
    return {
        "id": item_id,
        "accepted": passed,
        "extracted_code": code,
        "full_code": f"{task.prompt}{code}{task.ending}" if task.executed is None else code,
        "test_code": task.suite.text or None if work.handling.owner else None,  # the benchmark's are not shown
        "tests": [{"passed": passed, "exec_info": execution, "test_info": None}],
        "extracted_type": None,
        "extra": None,
    }


def prompt_of(task: Task) -> dict[str, Any]:
    return {"id": task.task_id, "prompt": task.question or task.prompt, "labels": {}}
