"""Request bodies of the OpenAI API in a server's dialect. Does no networking.

Every sampling parameter that a server would otherwise default (a model's own top_k, for example) is sent explicitly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from swarmeval.requests import Request, Sampling

Dialect = Literal["vllm", "llama.cpp", "openai", "plain"]
SEEDS = 2**31  # seeds are sent modulo this: every known server accepts 31 bits
MAX_STOPS = 4  # OpenAI and vLLM 0.32 reject more; StreamReader checks all of them anyway


@dataclass(frozen=True, slots=True)
class RequestFormat:
    """Properties that all requests to a server share."""

    model: str
    dialect: Dialect
    extra: Mapping[str, object]  # overrides fields of each body; None removes a field
    chat_template: str | None = None  # replaces that of the model; None: the server's
    adapters: Mapping[str, str] = field(default_factory=dict)  # the models that stand for them


def path(request: Request) -> str:
    """The request's path below the base URL."""
    return "completions" if request.text is not None else "chat/completions"


def body(request_format: RequestFormat, requests: Sequence[Request]) -> dict[str, Any]:
    """One body for requests that differ only in job and seed. The seed is that of the first."""
    first = requests[0]
    fields: dict[str, Any] = {"model": request_format.adapters.get(first.adapter, request_format.model)}
    if first.text is not None:
        fields["prompt"] = first.text
        if first.suffix is not None:
            fields["suffix"] = first.suffix
    else:
        fields |= _chat(first) | {"chat_template": request_format.chat_template}
    if first.thinking is not None:
        fields["thinking_token_budget"] = first.thinking.budget_tokens
    fields |= _sampling(first.sampling, request_format.dialect, chat=first.text is None)
    fields |= {"seed": first.seed % SEEDS, "stream": True, "stream_options": {"include_usage": True}}
    if len(requests) > 1:
        fields["n"] = len(requests)
    needs_counts = len(requests) > 1 or len(first.sampling.stop) > MAX_STOPS or first.marks
    if request_format.dialect == "vllm" and needs_counts:
        # Gives the token count of each answer instead of the sum, of one that we cut at a stop string, and so far.
        fields["stream_options"]["continuous_usage_stats"] = True
    fields |= request_format.extra
    return {name: value for name, value in fields.items() if value is not None}


def _chat(request: Request) -> dict[str, Any]:
    """The messages, as vLLM, SGLang and llama.cpp continue an assistant's message that the last one begins."""
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    fields: dict[str, Any] = {"messages": messages, "chat_template_kwargs": request.template_kwargs or None}
    if request.prefill:
        messages.append({"role": "assistant", "content": request.prefill})
        fields |= {"add_generation_prompt": False, "continue_final_message": True}
    return fields


def _sampling(sampling: Sampling, dialect: Dialect, chat: bool) -> dict[str, Any]:
    limit_name = "max_completion_tokens" if dialect == "openai" and chat else "max_tokens"
    fields: dict[str, Any] = {limit_name: sampling.max_new_tokens, "temperature": 0.0}
    if sampling.do_sample:
        fields |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
    fields |= _penalties(sampling)
    if sampling.stop:
        fields["stop"] = list(sampling.stop[:MAX_STOPS])
    if dialect == "vllm":
        fields["repetition_penalty"] = sampling.repetition_penalty
        if sampling.do_sample:
            fields |= {"top_k": sampling.top_k or -1, "min_p": sampling.min_p}
    elif dialect == "llama.cpp":
        # Its defaults are top_k 40, min_p 0.05, and a repetition penalty over the last 64 tokens only.
        fields |= {"repeat_penalty": sampling.repetition_penalty, "repeat_last_n": -1}
        if sampling.do_sample:
            fields |= {"top_k": sampling.top_k, "min_p": sampling.min_p}
    return fields


def _penalties(sampling: Sampling) -> dict[str, Any]:
    """Fields of OpenAI's API that every server has, and that are off unless they are sent."""
    fields = {
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias},
    }
    return {name: value for name, value in fields.items() if value}
