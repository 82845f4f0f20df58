"""Builds the requests for the tests of a function and for tidying a test file, and reads code from their replies."""

from typing import Any

import msgspec

from swarmeval.errors import ConfigError
from swarmeval.requests import Message, ReplicaInfo, Request, Sampling
from swarmeval.runs.plan import stable_hash
from swarmeval.runs.prompts import thinking_of, usual_sampling
from swarmeval.settings.run_config import RunConfig
from swarmeval.testgen import prompts
from swarmeval.testgen.sources import Context

CHARS_A_TOKEN = 2.5  # low estimate for code, because the tokenizer of a server is unknown
MOST_CHARS_A_TOKEN = 5.0


class RequestBuilder:
    """Builds the requests of a load run in the form that the model accepts."""

    def __init__(self, config: RunConfig, info: ReplicaInfo) -> None:
        """Raises ConfigError if the model does not support the configured prompt mode."""
        mode = config.prompt_mode
        self.mode = mode if mode != "auto" else "chat" if info.takes_chat else "completion"
        if self.mode == "chat" and not info.takes_chat:
            raise ConfigError(f"prompt_mode is 'chat' but {info.model} has no chat template; use completion or auto")
        self._sampling = self._tidying = usual_sampling(config, self.mode)
        if self.mode == "completion" and config.stop == "auto":
            self._sampling = msgspec.structs.replace(self._sampling, stop=prompts.STOPS)
            self._tidying = msgspec.structs.replace(self._tidying, stop=prompts.TIDY_STOPS)
        self._seed = config.seed
        self._arguments = config.chat_template_kwargs
        self._thinking = thinking_of(config, info)
        self._answer_tokens = config.max_new_tokens
        self._most_chars = CHARS_A_TOKEN * (info.max_context_tokens - config.max_new_tokens)

    def fits(self, context: Context) -> bool:
        """Whether prompt and answer fit the model's context, by a cautious estimate. The server checks exactly."""
        text = prompts.chat(context)[0].content if self.mode == "chat" else prompts.raw(context)
        return len(text) <= self._most_chars

    def request(self, context: Context, level: str, number: int) -> Request:
        """Build a request of a level. Its seed depends only on run seed, function, level and number."""
        seed = stable_hash(self._seed, context.function_id, level, number)
        job_id = f"{level}/{number}"
        if self.mode == "chat":
            return self._request(job_id, seed, self._sampling, messages=prompts.chat(context))
        return self._request(job_id, seed, self._sampling, text=prompts.raw(context))

    def code(self, reply: str) -> str:
        """The code of a reply, including the part that the prompt already contained."""
        return prompts.LEAD + reply if self.mode == "completion" else reply

    def too_long(self, module: str, tests: str) -> str:
        """The reason why a test file is too long for this model to tidy, by an estimate; "" if it is not."""
        if len(self._tidy_text(module, tests)) > self._most_chars:
            return "too long for the model"
        if len(tests) > MOST_CHARS_A_TOKEN * self._answer_tokens:
            return f"too long for an answer of {self._answer_tokens} tokens (max_new_tokens)"
        return ""

    def tidying(self, file: str, module: str, tests: str) -> Request:
        """Build the request to tidy a merged test file. Its seed depends only on run seed and file."""
        job_id, text = f"tidy/{file}", self._tidy_text(module, tests)
        seed = stable_hash(self._seed, job_id)
        if self.mode == "chat":
            return self._request(job_id, seed, self._tidying, messages=(Message("user", text),))
        return self._request(job_id, seed, self._tidying, text=text)

    def tidied(self, reply: str) -> str:
        """The tidied file from a reply, including the part that the prompt already contained."""
        return prompts.TIDY_LEAD + reply if self.mode == "completion" else reply

    def _request(self, job_id: str, seed: int, sampling: Sampling, **prompt: Any) -> Request:
        arguments, thinking = self._arguments, self._thinking
        return Request(job_id, seed, sampling, stream=True, template_kwargs=arguments, thinking=thinking, **prompt)

    def _tidy_text(self, module: str, tests: str) -> str:
        return prompts.tidy(module, tests) if self.mode == "chat" else prompts.tidy_raw(module, tests)
