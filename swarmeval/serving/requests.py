"""Request bodies of OpenAI's API: validation, and translation into requests for a replica.

Every accepted field takes effect; an unsupported field is rejected by name. Source: the OpenAI API reference, "Chat
completions" and "Completions"; top_k and repetition_penalty are named as in vLLM and SGLang.
"""

import hashlib
import secrets
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from swarmeval.requests import Message, Request, Sampling, Thinking
from swarmeval.serving.errors import BadRequest
from swarmeval.settings.agents import LogitBias, Penalty
from swarmeval.settings.prompt_rules import RESERVED
from swarmeval.settings.run_config import RunConfig

MOST_CHOICES = 128
MOST_KEYS = 1024  # per object in a body
MOST_COUNT = 2**31 - 1  # limit for token counts
LEAST_TEMPERATURE = 0.001  # logits divided by less are meaningless in fp32; 0 is greedy
Prompt = tuple[tuple[Message, ...], str | None]  # a chat, or raw text
Never = Literal[False] | None


def _check_unicode(text: str) -> str:
    """Reject text with a lone surrogate, which can be neither tokenized nor encoded."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise PydanticCustomError("surrogate", f"\\u{code:04x} is a lone surrogate, which is not valid text") from None
    return text


def _limit_keys(entries: object) -> object:
    """Reject a mapping with too many keys, since each key can cause a validation error of its own."""
    if isinstance(entries, dict) and len(entries) > MOST_KEYS:
        raise PydanticCustomError("keys", f"{len(entries)} keys are too many; the limit is {MOST_KEYS}")
    return entries


T = TypeVar("T")
Text = Annotated[str, AfterValidator(_check_unicode)]
List = Annotated[list[T], Field(fail_fast=True)]  # reports only the first of many invalid entries
Map = Annotated[dict[Text, T], BeforeValidator(_limit_keys)]
Count = Annotated[int, Field(ge=1, le=MOST_COUNT)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    _limited_fields = model_validator(mode="before")(_limit_keys)


class StreamOptions(_StrictModel):
    include_usage: bool = False
    continuous_usage_stats: bool = False  # vLLM's extension: running usage of the choice in each chunk


class TextPart(_StrictModel):
    type: Literal["text"]
    text: Text


class ChatMessage(_StrictModel):
    """One message; only text parts are supported."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | List[TextPart]
    name: Text | None = None

    def to_message(self) -> Message:
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, content)


class CommonForm(_StrictModel):
    """Fields that both endpoints share."""

    model: Text
    n: int = Field(1, ge=1, le=MOST_CHOICES)
    seed: int | None = Field(None, ge=-(2**63), lt=2**64)
    stop: Text | List[Text] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=MOST_COUNT)  # -1 and 0: no limit
    repetition_penalty: float | None = Field(None, ge=0.01, le=10)
    max_tokens: Count | None = None
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[LogitBias, BeforeValidator(_limit_keys)] | None = None
    thinking_token_budget: Count | None = None  # as in vLLM
    user: Text | None = None  # accepted without effect, like metadata
    metadata: Map[Text] | None = None

    def sampling(self, config: RunConfig) -> Sampling:
        """The sampling settings; missing fields default to the server's config. Raises BadRequest."""
        most = self.most_tokens() or config.max_new_tokens
        if most > config.max_new_tokens:
            raise BadRequest(f"max_tokens is {most}; the limit of this server is {config.max_new_tokens} "
                             "(max_new_tokens)", "max_tokens")  # fmt: skip
        temperature = config.temperature if self.temperature is None else self.temperature
        if self.temperature is not None and 0 < self.temperature < LEAST_TEMPERATURE:
            raise BadRequest(f"temperature is {self.temperature}; use 0 (greedy) or at least "
                             f"{LEAST_TEMPERATURE}", "temperature")  # fmt: skip
        top_k = config.top_k if self.top_k is None else max(0, self.top_k)
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_new_tokens=most,
            do_sample=temperature > 0 and (config.do_sample or self.temperature is not None),
            temperature=temperature or 1.0,
            top_p=config.top_p if self.top_p is None else self.top_p,
            top_k=top_k,
            repetition_penalty=(
                config.repetition_penalty if self.repetition_penalty is None else self.repetition_penalty
            ),
            min_p=config.min_p if self.min_p is None else self.min_p,
            presence_penalty=config.presence_penalty if self.presence_penalty is None else self.presence_penalty,
            frequency_penalty=config.frequency_penalty if self.frequency_penalty is None else self.frequency_penalty,
            logit_bias=tuple((config.logit_bias if self.logit_bias is None else self.logit_bias).items()),
            stop=tuple(stop for stop in stops if stop),
        )

    def most_tokens(self) -> int | None:
        return self.max_tokens

    def with_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage

    def with_running_usage(self) -> bool:
        """Whether every chunk has usage. As in vLLM, this also requires include_usage."""
        return self.with_usage() and self.stream_options is not None and self.stream_options.continuous_usage_stats


class ChatForm(CommonForm):
    """POST /v1/chat/completions."""

    messages: List[ChatMessage] = Field(min_length=1)
    max_completion_tokens: Count | None = None
    logprobs: Never = None
    store: Never = None
    chat_template_kwargs: Map[Any] = {}  # these three are named as in vLLM and SGLang
    add_generation_prompt: bool = True
    continue_final_message: bool = False

    def chat(self) -> tuple[tuple[Message, ...], str]:
        """The messages, and the beginning of the assistant's next one. Raises BadRequest."""
        messages = tuple(message.to_message() for message in self.messages)
        if self.continue_final_message == self.add_generation_prompt:
            raise BadRequest(
                "exactly one of continue_final_message and add_generation_prompt must be true", "continue_final_message"
            )
        if not self.continue_final_message:
            return messages, ""
        if messages[-1].role != "assistant" or not messages[-1].content:
            raise BadRequest("continue_final_message needs a last message by the assistant", "continue_final_message")
        return messages[:-1], messages[-1].content

    def template_arguments(self) -> dict[str, Any]:
        """The arguments of the chat template. Raises BadRequest for those of the tokenizer."""
        for name in self.chat_template_kwargs:
            if name in RESERVED:
                raise BadRequest(
                    f"chat_template_kwargs.{name} is not an argument of a template", "chat_template_kwargs"
                )
        return self.chat_template_kwargs

    def most_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class CompletionForm(CommonForm):
    """POST /v1/completions."""

    prompt: Text | List[Text]
    echo: Never = None
    suffix: Text | None = None  # the model fills the gap between prompt and suffix
    logprobs: None = None
    best_of: Literal[1] | None = None


def requests_of(
    form: ChatForm | CompletionForm,
    config: RunConfig,
    call_id: str,
    thinking: Thinking | None = None,
    adapter: str = "",
) -> list[Request]:
    """One request per choice, in index order: all `n` choices of the first prompt, then of the next.

    `thinking`: how the model marks its thoughts, if that is known. Raises BadRequest.
    """
    sampling = form.sampling(config)
    thinking = _limited(thinking, form.thinking_token_budget)
    seed = secrets.randbits(63) if form.seed is None else form.seed
    arguments, prefill = config.chat_template_kwargs, ""
    if isinstance(form, ChatForm):
        messages, prefill = form.chat()
        prompts: list[Prompt] = [(messages, None)]
        arguments = {**arguments, **form.template_arguments()}
    else:
        texts = [form.prompt] if isinstance(form.prompt, str) else form.prompt
        if not texts:
            raise BadRequest("prompt is empty; send a text or a list of texts", "prompt")
        prompts = [((), text) for text in texts]
    suffix = form.suffix if isinstance(form, CompletionForm) else None
    if len(prompts) * form.n > MOST_CHOICES:
        raise BadRequest(f"{len(prompts) * form.n} choices are too many; the limit is {MOST_CHOICES}", "n")
    return [
        Request(
            f"{call_id}/{index}",
            seed_of(seed, index),
            sampling,
            messages,
            text,
            suffix,
            form.stream,
            template_kwargs=arguments,
            prefill=prefill,
            thinking=thinking,
            adapter=adapter,
        )
        for index, (messages, text) in enumerate(prompt for prompt in prompts for _ in range(form.n))
    ]


def _limited(thinking: Thinking | None, budget_tokens: int | None) -> Thinking | None:
    """The markers with a request's own limit, if it has one. Raises BadRequest if there are no markers."""
    if budget_tokens is None:
        return thinking
    if thinking is None:
        raise BadRequest("this model has no known markers of thoughts", "thinking_token_budget")
    return Thinking(thinking.start, thinking.end, budget_tokens)


def seed_of(seed: int, index: int) -> int:
    """The 64-bit seed of one choice: the client's seed for the first, a hash of it and the index for the others."""
    if index == 0:
        return seed % 2**64
    return int.from_bytes(hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest(), "big")
