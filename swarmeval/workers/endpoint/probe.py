"""Check of a server before its first job: which models it serves, in which mode, and whether it counts tokens."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec.structs import replace as replaced

from swarmeval.errors import ConfigError
from swarmeval.requests import Request, Speculation
from swarmeval.surrogates import without_lone
from swarmeval.workers.endpoint.body import RequestFormat, body, path
from swarmeval.workers.endpoint.client import Client
from swarmeval.workers.endpoint.events import token_count
from swarmeval.workers.endpoint.faults import ServerFault, ServerRefused
from swarmeval.workers.endpoint.stream import StreamReader
from swarmeval.workers.speculation import SOFTWARE, of_page

PROBE_TOKENS = 16
MAX_NAMED = 4  # models listed in an error
MAX_LABEL = 80  # characters of a name
HELP = {  # remedies by rejected field
    "top_k": "endpoint.dialect: plain sends neither top_k nor repetition_penalty (and requires top_k: 0 and "
    "repetition_penalty: 1.0)",
    "max_tokens": "endpoint.dialect: openai sends max_completion_tokens",
    "max_completion_tokens": "endpoint.dialect: plain sends max_tokens",
    "thinking_token_budget": "remove thinking.budget_tokens, or start the server with a reasoning parser",
    "chat_template": "remove chat_template, or start the server with --trust-request-chat-template",
    "chat_template_kwargs": "remove chat_template_kwargs",
    "continue_final_message": "remove assistant_prefill",
    "suffix": "this benchmark has gaps to fill; prompt_mode: chat asks for them in words",
}
HELP |= {"repetition_penalty": HELP["top_k"], "repeat_penalty": HELP["top_k"]}
OPTIONAL_FIELDS = ("seed", "stream_options", "temperature", "top_p", "min_p", "repeat_last_n", "stop")

Mode = Literal["chat", "completion"]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Facts about a server, as it reports them."""

    mode: Mode
    counts: bool  # it reports the token counts of answers
    context_tokens: int = 0  # 0: not reported
    software: str = ""
    version: str = ""
    served: tuple[str, ...] = ()


async def inspect_server(client: Client, request_format: RequestFormat, modes: Mapping[Mode, Request]) -> ServerInfo:
    """Ask a server for its models, and for a few tokens in the first mode that it supports.

    Raises ServerFault, or ConfigError if the settings do not suit the server.
    """
    server = await _listed(client, request_format.model)
    refused: ServerRefused | None = None
    for mode, example in modes.items():
        try:
            counts = await try_out(client, request_format, example)
        except ServerRefused as error:
            if error.status >= 500:  # sent instead of an answer; may be temporary
                raise ServerFault(str(error)) from None
            refused = refused or error
            if error.status in (401, 402, 403) or _field(error):
                break
            continue
        return replace(server, mode=mode, counts=counts)
    assert refused is not None
    raise explained(client, refused)


async def try_out(client: Client, request_format: RequestFormat, example: Request) -> bool:
    """Generate a few tokens; return whether the server counted them. Raises like Client.complete()."""
    request = replaced(example, sampling=replaced(example.sampling, max_new_tokens=PROBE_TOKENS))
    reader = StreamReader(1, (), client.hide)
    await client.complete(path(request), body(request_format, [request]), reader)
    reader.count()
    return reader.answers[0].tokens is not None


def explained(client: Client, refused: ServerRefused) -> ConfigError:
    """The error for a refusal that affects every request: the reason and the remedy."""
    variable, where = client.key.variable, client.url
    if refused.status in (401, 403):
        if client.key.value:
            return ConfigError(f"{where}: rejects the key in {variable} ({refused}); set {variable} to a valid key")
        return ConfigError(
            f"{where}: requires a key ({refused}); set {variable}, or name its variable in endpoint.key_env"
        )
    if refused.status == 402:
        return ConfigError(
            f"{where}: the account has no credit left ({refused}); fix this, then repeat the command to resume"
        )
    if refused.status == 404:
        return ConfigError(f"{where}: does not know this model or path ({refused}); fix model_id or endpoint.urls")
    field = _field(refused)
    if field in HELP:
        return ConfigError(f"{where}: rejects {field} ({refused}); {HELP[field]}")
    if field:
        return ConfigError(f"{where}: rejects {field} ({refused}); endpoint.body: {{{field}: null}} leaves it out")
    return ConfigError(f"{where}: rejects the test request ({refused}); fix the settings or the server")


def _field(refused: ServerRefused) -> str:
    """The request field named in a refusal; "" if it names none of ours."""
    if refused.status not in (400, 422):
        return ""
    words = set("".join(letter if letter.isalnum() or letter == "_" else " " for letter in str(refused)).split())
    return next((field for field in (*HELP, *OPTIONAL_FIELDS) if field in words), "")


async def _listed(client: Client, model: str) -> ServerInfo:
    """Facts from the server's model list, if it has one. Raises ConfigError, ServerFault."""
    unlisted = ServerInfo("chat", False)
    try:
        listing = await client.get_json(f"{client.url}/models", with_key=True)
    except ServerRefused as refused:
        if refused.status in (401, 402, 403):
            raise explained(client, refused) from None
        return unlisted
    except ServerFault as fault:
        if fault.kind == "unreachable":
            raise
        return unlisted
    data = _entry(listing, "data")
    rows = [row for row in data if isinstance(_entry(row, "id"), str)] if isinstance(data, list) else []
    if not rows:
        return unlisted
    served = tuple(row["id"] for row in rows)
    if model not in served:
        raise ConfigError(
            f"{client.url}: serves {_nearest(client, served, model)}, but not model_id {model!r}; "
            "set model_id to a served name"
        )
    row = rows[served.index(model)]
    context, owner = token_count(row.get("max_model_len")), _label(client, row.get("owned_by"))
    version = await _version(client) if owner == "vllm" else ""
    return replace(
        unlisted, context_tokens=context or 0, software=owner, version=version,
        served=tuple(_label(client, name) for name in served[:MAX_NAMED]),
    )  # fmt: skip


async def _version(client: Client) -> str:
    parts = urlsplit(client.url)
    try:
        response = await client.get_json(f"{parts.scheme}://{parts.netloc}/version", with_key=False)
    except (ServerFault, ServerRefused, ConfigError):
        return ""
    return _label(client, _entry(response, "version"))


async def counted(client: Client, software: str) -> Speculation | None:
    """The counts of speculative decoding on a server's page /metrics; None if it has none."""
    if software not in SOFTWARE:
        return None
    parts = urlsplit(client.url)
    try:
        return of_page(await client.get_text(f"{parts.scheme}://{parts.netloc}/metrics"))
    except (ServerFault, ServerRefused, ConfigError):
        return None


def _entry(response: Any, key: str) -> Any:
    return response.get(key) if isinstance(response, dict) else None


def _label(client: Client, value: object) -> str:
    """A name from the server, shortened and without secrets."""
    return client.hide(without_lone(str(value or ""))[0])[:MAX_LABEL]


def _nearest(client: Client, served: tuple[str, ...], model: str) -> str:
    close = difflib.get_close_matches(model, served, MAX_NAMED, cutoff=0.3) or list(served[:MAX_NAMED])
    more = f" and {len(served) - len(close)} more" if len(served) > len(close) else ""
    return ", ".join(repr(_label(client, name)) for name in close) + more
