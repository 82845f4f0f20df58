"""The web application of the judge: paths, status codes and errors. Does not know how programs are judged."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from swarmeval.serving.admission import CLIENT, Admission, AllowedHosts
from swarmeval.serving.disconnects import HUNG_UP, EventStream, while_connected
from swarmeval.serving.error_responses import ErrorResponses
from swarmeval.serving.errors import NotJson
from swarmeval.serving.judge.errors import NotOffered
from swarmeval.serving.judge.items import read_batch
from swarmeval.serving.judge.sandbox_fusion import RunCode
from swarmeval.serving.judge.service import JudgeService
from swarmeval.serving.judge.submissions import Submissions
from swarmeval.settings.serve import ServeSettings

NOT_OFFERED = ("/run_jupyter", "/get_metrics", "/get_metrics_function")  # of SandboxFusion

Endpoint = Callable[[Request], Awaitable[Response]]
Answer = Callable[[bytes, str], Awaitable[object]]  # the body and its client -> the answer, as plain data


class VerdictStream(EventStream):
    """A response of JSON lines."""

    media_type = "application/x-ndjson"


class JudgeApi:
    """The API's endpoints."""

    def __init__(self, service: JudgeService, serve: ServeSettings, benchmark: str, key: str | None) -> None:
        """`benchmark`: its name. `key`: the API keys; None if none is needed."""
        self._service = service
        self._serve = serve
        self._key = key
        self._errors = ErrorResponses(service.metrics.call, serve.max_body_bytes)
        self._benchmark = benchmark
        self._run_code = RunCode(service)
        self._submissions = Submissions(service, benchmark)

    def app(self) -> ASGIApp:
        posts: dict[str, Endpoint] = {
            "/v1/verdicts": self.verdicts,
            "/run_code": self._answered(self._run_code.answer),
            "/submit": self._answered(self._submissions.submit),
            "/get_prompts": self._answered(self._submissions.prompts),
            "/get_prompt_by_id": self._answered(self._submissions.prompt),
            **dict.fromkeys(NOT_OFFERED, self.not_offered),
        }
        gets: dict[str, Endpoint] = {
            "/health": self.health,
            "/v1/offer": self.offer,
            "/metrics": self.metrics,
            "/v1/ping": self.ping,
            "/list_datasets": self.datasets,
        }
        app = Starlette(
            routes=[
                *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
                *(Route(path, endpoint, methods=["GET"]) for path, endpoint in gets.items()),
            ],
            exception_handlers=self._errors.handlers(),
            max_body_size=self._serve.max_body_bytes,  # also limits bodies without a Content-Length
        )
        hosts = AllowedHosts(self._serve.host, self._serve.hosts)
        return Admission(app, self._key, hosts, self._serve.max_body_bytes, self._errors.refusal)

    async def health(self, request: Request) -> Response:
        """200: the server only listens when it can judge. Needs no key, so it says nothing else."""
        return _json({"status": "ok"})

    async def offer(self, request: Request) -> Response:
        """The benchmark and languages of this server, its limits and its sandbox layers."""
        service = self._service
        offered = {
            "benchmark": self._benchmark,
            "tasks": len(service.tasks),
            "languages": list(service.toolchains),
            "timeout_s": service.maxima.timeout_s,
            "memory_mb": service.maxima.memory_mb,
            "batch": service.maxima.batch,
            "sandbox": service.judge.in_force(),
            "sandbox_missing": service.judge.missing(),
        }
        return _json(offered)

    async def ping(self, request: Request) -> Response:
        """SandboxFusion's check of the server."""
        return _json("pong")

    async def metrics(self, request: Request) -> Response:
        """Metrics in Prometheus format."""
        return Response(self._service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def datasets(self, request: Request) -> Response:
        """The names that /submit accepts."""
        return _json(self._submissions.names())

    async def verdicts(self, request: Request) -> Response:
        """Verdicts on a batch of items, one line each, in the order in which they are ready."""
        service, client = self._service, request.scope[CLIENT]
        body = await _body(request)
        reader = partial(read_batch, body, client, service.tasks, service.toolchains, service.maxima)
        works = await service.read(body, client, reader)
        service.check_room(client, len(works))
        return VerdictStream(service.lines(works, client), lambda status: service.metrics.call("/v1/verdicts", status))

    async def not_offered(self, request: Request) -> Response:
        offered = "/v1/verdicts, /run_code, /submit, /list_datasets, /get_prompts and /get_prompt_by_id"
        raise NotOffered(f"{request.scope['path']} is not offered by this server; it has {offered}")

    def _answered(self, answer: Answer) -> Endpoint:
        """An endpoint that answers with one JSON value, and stops working if its client disconnects."""

        async def endpoint(request: Request) -> Response:
            body, path = await _body(request), request.scope["path"]
            found: Any = await while_connected(request.receive, answer(body, request.scope[CLIENT]))
            self._service.metrics.call(path, HUNG_UP if found is None else 200)
            return _json(found)

        return endpoint


async def _body(request: Request) -> bytes:
    """The body of a call that declares it as JSON. Raises NotJson: foreign web pages can send other bodies."""
    declared = request.headers.get("content-type")
    if declared is None or declared.partition(";")[0].strip().lower() != "application/json":
        raise NotJson(declared)
    return await request.body()


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
