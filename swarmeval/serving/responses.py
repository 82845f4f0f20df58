"""Response bodies of OpenAI's API: complete answers and stream chunks."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from swarmeval.requests import Piece, Reply

DONE = b"data: [DONE]\n\n"


class ResponseWriter:
    """Writes the response to one call, in the format of chats or of plain completions."""

    def __init__(self, call_id: str, model: str, chat: bool, n: int, counting: bool = False) -> None:
        """`n` is the number of choices per prompt. With `counting`, each chunk has the running usage of its choice."""
        self._chat = chat
        self._n = n
        self._counting = counting
        self._head = {"id": call_id, "created": int(time.time()), "model": model}

    def full_response(self, replies: Sequence[Reply]) -> bytes:
        """The response of a non-streaming call; reply i is choice i."""
        kind = "chat.completion" if self._chat else "text_completion"
        choices = [self._choice(index, reply) for index, reply in enumerate(replies)]
        return msgspec.json.encode({**self._head, "object": kind, "choices": choices, "usage": usage(replies, self._n)})

    def opening(self, index: int, first: Piece | Reply) -> bytes:
        """The chunk that opens a choice, sent before `first`; empty for plain completions."""
        delta = {"role": "assistant", "content": ""}
        return self._chunk(index, delta, first.prompt_tokens, 0) if self._chat else b""

    def piece(self, index: int, text: str, of: Piece | Reply, thought: str = "") -> bytes:
        """The chunk with new text, new thought, or both. Plain completions have no place for thoughts."""
        delta = {"content": text} if text or not thought else {}
        delta |= {"reasoning_content": thought} if thought else {}
        return self._chunk(index, delta if self._chat else text, of.prompt_tokens, of.output_tokens)

    def ending(self, index: int, reply: Reply) -> bytes:
        """The last chunk of a choice."""
        delta = {} if self._chat else ""
        return self._chunk(index, delta, reply.prompt_tokens, reply.output_tokens, reply.finish_reason)

    def tokens(self, replies: Sequence[Reply]) -> bytes:
        """The final usage chunk of a stream."""
        return event({**self._head, "object": self._kind, "choices": [], "usage": usage(replies, self._n)})

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _choice(self, index: int, reply: Reply) -> dict[str, Any]:
        thought = {"reasoning_content": reply.reasoning} if reply.reasoning else {}
        message = {"role": "assistant", "content": reply.text, **thought}
        content = {"message": message} if self._chat else {"text": reply.text}
        return {"index": index, **content, "logprobs": None, "finish_reason": reply.finish_reason}

    def _chunk(self, index: int, delta: object, prompt: int, output: int, reason: str | None = None) -> bytes:
        key = "delta" if self._chat else "text"
        choice = {"index": index, key: delta, "logprobs": None, "finish_reason": reason}
        took = {"usage": _tokens(prompt, output)} if self._counting else {}
        return event({**self._head, "object": self._kind, "choices": [choice], **took})


def usage(replies: Sequence[Reply], n: int) -> dict[str, Any]:
    """Token usage of one call: each prompt once, all choices; of which thoughts, if there are any."""
    prompt = sum(reply.prompt_tokens for reply in replies[::n])
    output = sum(reply.output_tokens for reply in replies)
    thought = sum(reply.reasoning_tokens or 0 for reply in replies)
    details = {"completion_tokens_details": {"reasoning_tokens": thought}} if thought else {}
    return _tokens(prompt, output) | details


def _tokens(prompt: int, output: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def event(body: object) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
