"""What the server says, in the form of OpenAI's API: whole answers, chunks of a stream, errors."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from workers.protocol import Reply

DONE = b"data: [DONE]\n\n"


class Speech:
    """The words of one call: `chat` or plain completions, as the client asked."""

    def __init__(self, call_id: str, model: str, chat: bool, n: int) -> None:
        """`n` choices of each prompt, one after another."""
        self._chat = chat
        self._n = n
        self._head = {"id": call_id, "created": int(time.time()), "model": model}

    def whole(self, replies: Sequence[Reply]) -> bytes:
        """The answer of a call that does not stream; reply i is choice i."""
        kind = "chat.completion" if self._chat else "text_completion"
        choices = [self._choice(index, reply) for index, reply in enumerate(replies)]
        return msgspec.json.encode({**self._head, "object": kind, "choices": choices, "usage": usage(replies, self._n)})

    def opening(self, index: int) -> bytes:
        """The first chunk of a choice; plain completions have none."""
        return self._chunk(index, {"role": "assistant", "content": ""}) if self._chat else b""

    def piece(self, index: int, text: str) -> bytes:
        return self._chunk(index, {"content": text} if self._chat else text)

    def ending(self, index: int, reason: str) -> bytes:
        """The last chunk of a choice."""
        return self._chunk(index, {} if self._chat else "", reason)

    def tokens(self, replies: Sequence[Reply]) -> bytes:
        """The chunk that says what a stream took."""
        return event({**self._head, "object": self._kind, "choices": [], "usage": usage(replies, self._n)})

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _choice(self, index: int, reply: Reply) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": reply.text}} if self._chat else {"text": reply.text}
        return {"index": index, **said, "logprobs": None, "finish_reason": reply.finish_reason}

    def _chunk(self, index: int, said: object, reason: str | None = None) -> bytes:
        key = "delta" if self._chat else "text"
        choice = {"index": index, key: said, "logprobs": None, "finish_reason": reason}
        return event({**self._head, "object": self._kind, "choices": [choice]})


def usage(replies: Sequence[Reply], n: int) -> dict[str, int]:
    """Tokens of one call: each prompt once, all that was said."""
    prompt = sum(reply.prompt_tokens for reply in replies[::n])
    output = sum(reply.output_tokens for reply in replies)
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def event(body: object) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
