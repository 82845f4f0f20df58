"""What the server says, in the form of OpenAI's API: whole answers, chunks of a stream, errors."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from swarmeval.requests import Piece, Reply

DONE = b"data: [DONE]\n\n"


class ResponseWriter:
    """Writes the responses to one call, as `chat` or as plain completions."""

    def __init__(self, call_id: str, model: str, chat: bool, n: int, counting: bool = False) -> None:
        """`n` choices of each prompt, one after another; `counting`: each chunk says what its choice took so far."""
        self._chat = chat
        self._n = n
        self._counting = counting
        self._head = {"id": call_id, "created": int(time.time()), "model": model}

    def full_response(self, replies: Sequence[Reply]) -> bytes:
        """The answer of a call that does not stream; reply i is choice i."""
        kind = "chat.completion" if self._chat else "text_completion"
        choices = [self._choice(index, reply) for index, reply in enumerate(replies)]
        return msgspec.json.encode({**self._head, "object": kind, "choices": choices, "usage": usage(replies, self._n)})

    def opening(self, index: int, first: Piece | Reply) -> bytes:
        """The first chunk of a choice, before what comes of it first; plain completions have none."""
        delta = {"role": "assistant", "content": ""}
        return self._chunk(index, delta, first.prompt_tokens, 0) if self._chat else b""

    def piece(self, index: int, text: str, of: Piece | Reply) -> bytes:
        return self._chunk(index, {"content": text} if self._chat else text, of.prompt_tokens, of.output_tokens)

    def ending(self, index: int, reply: Reply) -> bytes:
        """The last chunk of a choice."""
        delta = {} if self._chat else ""
        return self._chunk(index, delta, reply.prompt_tokens, reply.output_tokens, reply.finish_reason)

    def tokens(self, replies: Sequence[Reply]) -> bytes:
        """The chunk that says what a stream took."""
        return event({**self._head, "object": self._kind, "choices": [], "usage": usage(replies, self._n)})

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _choice(self, index: int, reply: Reply) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": reply.text}} if self._chat else {"text": reply.text}
        return {"index": index, **content, "logprobs": None, "finish_reason": reply.finish_reason}

    def _chunk(self, index: int, delta: object, prompt: int, output: int, reason: str | None = None) -> bytes:
        key = "delta" if self._chat else "text"
        choice = {"index": index, key: delta, "logprobs": None, "finish_reason": reason}
        took = {"usage": _tokens(prompt, output)} if self._counting else {}
        return event({**self._head, "object": self._kind, "choices": [choice], **took})


def usage(replies: Sequence[Reply], n: int) -> dict[str, int]:
    """Tokens of one call: each prompt once, all that was said."""
    prompt = sum(reply.prompt_tokens for reply in replies[::n])
    output = sum(reply.output_tokens for reply in replies)
    return _tokens(prompt, output)


def _tokens(prompt: int, output: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def event(body: object) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
