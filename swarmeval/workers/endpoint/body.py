"""A request as the body of OpenAI's API, in the dialect that a server speaks. Knows no network.

What a server would choose by itself where it is told nothing (a model's own top_k, say) is always told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from swarmeval.requests import Request, Sampling

Dialect = Literal["vllm", "llama.cpp", "openai", "plain"]
SEEDS = 2**31  # of a seed its lowest bits are sent: servers differ in what they hold, and none holds less
MAX_STOPS = 4  # more are refused by OpenAI and by vLLM 0.32; the reader of an answer looks for all of them


@dataclass(frozen=True, slots=True)
class RequestFormat:
    """The form of all requests to a server."""

    model: str
    dialect: Dialect
    extra: Mapping[str, object]  # laid over each body; None takes a field out


def path(request: Request) -> str:
    """Below the base URL."""
    return "completions" if request.text is not None else "chat/completions"


def body(request_format: RequestFormat, requests: Sequence[Request]) -> dict[str, Any]:
    """Of requests that differ in nothing but job and seed; the first one's seed stands for all."""
    first = requests[0]
    fields: dict[str, Any] = {"model": request_format.model}
    if first.text is not None:
        fields["prompt"] = first.text
    else:
        fields["messages"] = [{"role": message.role, "content": message.content} for message in first.messages]
    fields |= _sampling(first.sampling, request_format.dialect, chat=first.text is None)
    fields |= {"seed": first.seed % SEEDS, "stream": True, "stream_options": {"include_usage": True}}
    if len(requests) > 1:
        fields["n"] = len(requests)
    if request_format.dialect == "vllm" and (len(requests) > 1 or len(first.sampling.stop) > MAX_STOPS):
        # The tokens of each answer and not of all together, and of one that a stop string ends before the server does.
        fields["stream_options"]["continuous_usage_stats"] = True
    fields |= request_format.extra
    return {name: value for name, value in fields.items() if value is not None}


def _sampling(sampling: Sampling, dialect: Dialect, chat: bool) -> dict[str, Any]:
    limit_name = "max_completion_tokens" if dialect == "openai" and chat else "max_tokens"
    fields: dict[str, Any] = {limit_name: sampling.max_new_tokens, "temperature": 0.0}
    if sampling.do_sample:
        fields |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if sampling.stop:
        fields["stop"] = list(sampling.stop[:MAX_STOPS])
    if dialect == "vllm":
        fields["repetition_penalty"] = sampling.repetition_penalty
        if sampling.do_sample:
            fields["top_k"] = sampling.top_k or -1
    elif dialect == "llama.cpp":
        # By itself it keeps 40 tokens, and of those what reaches a twentieth of the best; its penalty looks back 64.
        fields |= {"repeat_penalty": sampling.repetition_penalty, "repeat_last_n": -1}
        if sampling.do_sample:
            fields |= {"top_k": sampling.top_k, "min_p": 0.0}
    return fields
