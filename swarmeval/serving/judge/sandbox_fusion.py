"""POST /run_code as in SandboxFusion: builds and runs a program, and returns its output.

Source: bytedance/SandboxFusion, sandbox/server/sandbox_api.py and sandbox/runners/types.py. Fields and status words are
those of that API. A field or value that this server does not offer is refused by name.
"""

import base64
from collections.abc import Collection
from typing import Any, TypeVar

from msgspec import Struct

from swarmeval.errors import SandboxError
from swarmeval.sandbox.executed.capture import MOST_OUTPUT, Captured
from swarmeval.sandbox.executed.handle import CommandEnd
from swarmeval.sandbox.executed.judging import BUILD_LIMITS
from swarmeval.sandbox.executed.orders import Source
from swarmeval.sandbox.languages import languages
from swarmeval.sandbox.warden_process import WardenDied
from swarmeval.serving.errors import BadRequest
from swarmeval.serving.judge.bodies import decoded
from swarmeval.serving.judge.items import Maxima, check_paths, checked_memory, checked_timeout
from swarmeval.serving.judge.service import JudgeService

NAMES = {"nodejs": "javascript", "R": "r"}  # of languages whose name differs there
SUCCESS, FAILED, SANDBOX_ERROR = "Success", "Failed", "SandboxError"  # of a call
FINISHED, TIME_LIMIT_EXCEEDED = "Finished", "TimeLimitExceeded"  # of a command
UNLIMITED_MB = -1  # memory_limit_MB: the server's limit

Body = TypeVar("Body", bound=Struct)


class RunCodeForm(Struct, forbid_unknown_fields=True):
    """The body of POST /run_code."""

    code: str
    language: str
    compile_timeout: float = 10.0
    run_timeout: float = 10.0
    memory_limit_MB: int = UNLIMITED_MB  # noqa: N815 (the API's name)
    stdin: str | None = None
    files: dict[str, str | None] = {}  # path -> base64
    fetch_files: list[str] = []


class RunCode:
    """Answers POST /run_code."""

    def __init__(self, service: JudgeService) -> None:
        self._service = service

    async def answer(self, body: bytes, client: str) -> dict[str, Any]:
        """The response. Raises BadRequest, QueueFull."""
        service = self._service
        form = read(body, RunCodeForm)
        try:
            source = source_of(form, service.toolchains, service.maxima)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        service.check_room(client, 1)
        try:
            async with service.turn(client):
                response = response_to(await service.judge.capture(source), source)
        except (SandboxError, WardenDied) as error:
            response = {**response_of(SANDBOX_ERROR), "message": str(error)}
        service.metrics.run(response["status"])
        return response


def read(body: bytes, kind: type[Body]) -> Body:
    """The body as a record of this kind. Raises BadRequest."""
    try:
        return decoded(body, kind)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not valid: {error}") from None


def own_language(name: str, offered: Collection[str]) -> str:
    """The language that SandboxFusion calls so. Raises ValueError if it is not offered."""
    own = NAMES.get(name, name)
    if own not in offered or name in NAMES.values():
        others = {own: name for name, own in NAMES.items()}
        known = ", ".join(others.get(language, language) for language in offered) or "none"
        raise ValueError(f"language {name[:99]!r} is not offered; this server has {known}")
    return own


def source_of(form: RunCodeForm, offered: Collection[str], maxima: Maxima) -> Source:
    """The program of a form. Raises ValueError for what is not offered."""
    language = own_language(form.language, offered)
    if form.fetch_files:
        raise ValueError("fetch_files is not offered; print what you need")
    if not 0 < form.compile_timeout <= BUILD_LIMITS.timeout_s:
        raise ValueError(
            f"compile_timeout is {form.compile_timeout:g}; use more than 0 and at most {BUILD_LIMITS.timeout_s:g}"
        )
    run_s = checked_timeout("run_timeout", form.run_timeout, maxima)
    memory_mb = form.memory_limit_MB
    memory_mb = maxima.memory_mb if memory_mb == UNLIMITED_MB else checked_memory("memory_limit_MB", memory_mb, maxima)
    files = tuple((path, file_text(path, content)) for path, content in form.files.items() if content is not None)
    check_paths([*(path for path, _ in files), languages()[language].file])
    return Source(language, form.code, form.stdin or "", files, form.compile_timeout, run_s, memory_mb)


def file_text(path: str, content: str) -> str:
    """The text of a file. Raises ValueError if it is not text in base64."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except ValueError:  # binascii.Error, UnicodeDecodeError, or a text with other characters than ASCII
        raise ValueError(f"files: {path[:99]!r} is not UTF-8 text in base64; other files are not offered") from None


def response_to(ends: Captured, source: Source) -> dict[str, Any]:
    """The response for a program that was built and run."""
    commands = [end for end in (ends.build, ends.run) if end is not None]
    status = SUCCESS if all(end.succeeded for end in commands) else FAILED
    build = None if ends.build is None else command_result(ends.build, BUILD_LIMITS.memory_mb)
    run = None if ends.run is None else command_result(ends.run, source.memory_mb)
    return response_of(status, build, run)


def response_of(
    status: str, compile_result: dict[str, Any] | None = None, run_result: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "status": status,
        "message": "",
        "compile_result": compile_result,
        "run_result": run_result,
        "executor_pod_name": None,
        "files": {},
    }


def command_result(end: CommandEnd, memory_mb: int) -> dict[str, Any]:
    """One command. Without a status word of the API for it, a limit on memory or output is told in `stderr`."""
    is_late = end.reason == "limit"
    reached = {
        "memory": f"killed: more than {memory_mb} MB of memory",
        "output": f"killed: more than {MOST_OUTPUT} bytes of output",
    }
    return {
        "status": TIME_LIMIT_EXCEEDED if is_late else FINISHED,
        "execution_time": end.wall_s,
        "cpu_time": end.cpu_s,
        "return_code": None if is_late else end.exit_code,
        "stdout": end.output,
        "stderr": "\n".join(filter(None, (end.errors, reached.get(end.reason)))),
    }
