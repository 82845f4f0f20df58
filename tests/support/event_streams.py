"""Event streams of servers, and what is read from them."""

import json
from typing import Any

from swarmeval.workers.endpoint.stream import StreamReader


def event(content: Any = "", reason: Any = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": reason}], **fields}


def streamed(*events: dict[str, Any] | bytes, done: bool = True, reader: StreamReader | None = None) -> StreamReader:
    """A reader that has received these events and the end of the stream."""
    reader = reader or StreamReader(1, ())
    for one in events:
        data = one if isinstance(one, bytes) else json.dumps(one).encode()
        reader.feed(b"data: " + data + b"\n\n", 1.0)
    if done:
        reader.feed(b"data: [DONE]\n\n", 2.0)
    reader.end(3.0)
    reader.count()
    return reader
