"""The web application: OpenAI's API on top of a pool, with its paths and status codes. Does not know about models."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp

from swarmeval.requests import Request as Job
from swarmeval.runs.prompts import thinking_of
from swarmeval.serving import calls
from swarmeval.serving.admission import Admission, AllowedHosts
from swarmeval.serving.disconnects import HUNG_UP, EventStream, while_connected
from swarmeval.serving.error_responses import ErrorResponses
from swarmeval.serving.errors import BadRequest, NotFound, NotJson
from swarmeval.serving.metrics import ServerMetrics
from swarmeval.serving.pool import Pool
from swarmeval.serving.requests import ChatForm, CompletionForm, requests_of
from swarmeval.serving.responses import ResponseWriter
from swarmeval.settings.run_config import RunConfig
from swarmeval.version import VERSION


class Api:
    """The API's endpoints and metrics."""

    def __init__(self, pool: Pool, config: RunConfig, model: str, key: str | None) -> None:
        """`model` is the model's name for clients; `key` is the API key, None if none is needed."""
        self._pool = pool
        self._config = config
        self._model = model
        adapters = {name: name for name, source in config.adapters.items() if source}
        self._adapters = adapters | {model: ""}  # by the names that clients may use
        self._key = key
        self._began = int(time.time())
        self._metrics = ServerMetrics(pool)
        self._errors = ErrorResponses(self._metrics.call, config.serve.max_body_bytes)

    def app(self) -> ASGIApp:
        serve = self._config.serve
        app = FastAPI(
            title="Swarmeval",
            version=VERSION,
            description="OpenAI's API over one model.",
            openapi_url="/openapi.json" if serve.docs else None,  # None also disables /docs and /redoc
            max_body_size=serve.max_body_bytes,  # also limits bodies without a Content-Length
        )
        app.get("/health")(self.health)
        app.get("/metrics")(self.metrics)
        app.get("/v1/models")(self.models)
        app.get("/v1/models/{name:path}")(self.one_model)
        app.post("/v1/chat/completions", response_model=None)(self.chat)
        app.post("/v1/completions", response_model=None)(self.completions)
        for kind, handler in (self._errors.handlers() | {RequestValidationError: self._invalid}).items():
            app.add_exception_handler(kind, handler)
        # Wraps the app, so that a rejected call reaches no code that reads its body.
        hosts = AllowedHosts(serve.host, serve.hosts)
        return Admission(app, self._key, hosts, serve.max_body_bytes, self._errors.refusal)

    async def health(self) -> Response:
        """200 while a replica is ready, 503 otherwise."""
        states = {
            member.worker.name: "ready" if member.info else "given up" if member.retired else "loading"
            for member in self._pool.members
        }
        ready = self._pool.ready
        return _json({"status": "ok" if ready else "unready", "replicas": states}, 200 if ready else 503)

    async def metrics(self) -> Response:
        """Metrics in Prometheus format."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self) -> Response:
        """The list of models: the one that is served, and its adapters."""
        return _json({"object": "list", "data": [self._card(name) for name in self._names()]})

    async def one_model(self, name: str) -> Response:
        """The description of a model by its name."""
        self._check_model(name)
        return _json(self._card(name))

    async def chat(self, form: ChatForm, request: Request) -> Response:
        """A chat completion, whole or streamed."""
        self._check_model(form.model)
        if self._pool.info is not None and not self._pool.info.takes_chat:
            raise BadRequest(f"{self._model} has no chat template; use /v1/completions")
        return await self._answer(form, request)

    async def completions(self, form: CompletionForm, request: Request) -> Response:
        """A completion of raw text, whole or streamed."""
        self._check_model(form.model)
        return await self._answer(form, request)

    async def _answer(self, form: ChatForm | CompletionForm, request: Request) -> Response:
        chat = isinstance(form, ChatForm)
        call_id = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        info = self._pool.info
        thinking = None if info is None else thinking_of(self._config, info)
        jobs = requests_of(form, self._config, call_id, thinking, self._adapters[form.model])
        self._pool.check_room(len(jobs))
        writer = ResponseWriter(call_id, form.model, chat, form.n, form.with_running_usage())
        if form.stream:
            return await self._stream(request, jobs, writer, form.with_usage())
        replies = await while_connected(request.receive, calls.all_replies(self._pool, jobs, self._metrics))
        self._metrics.call(request.scope["path"], HUNG_UP if replies is None else 200)
        return Response(writer.full_response(replies or ()), media_type="application/json")

    async def _stream(self, request: Request, jobs: list[Job], writer: ResponseWriter, with_usage: bool) -> Response:
        """Start the response with the first event: before that, the call can still end with an error status."""
        events = calls.events(self._pool, jobs, self._metrics, writer, with_usage)
        first = await while_connected(request.receive, anext(events))
        path = request.scope["path"]
        if first is None:
            await events.aclose()
            self._metrics.call(path, HUNG_UP)
            return Response(status_code=HUNG_UP)
        return EventStream(_before(first, events), lambda status: self._metrics.call(path, status))

    def _card(self, name: str) -> dict[str, object]:
        info = self._pool.info
        return {
            "id": name,
            "object": "model",
            "created": self._began,
            "owned_by": "swarmeval",
            "max_model_len": None if info is None else info.max_context_tokens,
        } | ({"parent": self._model} if self._adapters[name] else {})

    def _check_model(self, name: str) -> None:
        if name not in self._adapters:
            served = ", ".join(map(repr, self._names()))
            raise NotFound(f"unknown model {name!r}; this server has {served}", "model", "model_not_found")

    def _names(self) -> list[str]:
        """The names that clients may use, the model's own first."""
        return sorted(self._adapters, key=lambda name: name != self._model)

    async def _invalid(self, request: Request, error: Exception) -> Response:
        """Answer a validation error with its most deeply nested entry: a union reports every alternative."""
        assert isinstance(error, RequestValidationError)
        if isinstance(error.body, bytes):  # FastAPI parses only bodies that are declared as JSON
            return self._errors.refusal(request.scope, NotJson(request.headers.get("content-type")))
        first = max(error.errors(), key=lambda entry: len(entry["loc"]))
        places = (
            place for place in first["loc"][1:] if isinstance(place, str) and "[" not in place
        )  # without the alternatives of unions
        param = ".".join(places) or None
        message = first["msg"] if param is None else f"{param}: {first['msg']}"
        if first["type"] == "extra_forbidden":
            message = f"{param} is not supported by this server"
        elif first["type"] == "json_invalid":
            message, param = f"the body is not valid JSON: {first['ctx']['error']}", None
        return self._errors.refusal(request.scope, BadRequest(message, param))


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


async def _before(first: bytes, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event
