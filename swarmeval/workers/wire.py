"""What a worker and the coordinator write to each other: MessagePack, tagged by type; on a socket, length first."""

import struct
from typing import Literal

import msgspec
from msgspec import Struct

from swarmeval.requests import Piece, Refusal, ReplicaInfo, Reply, Request, WorkerProgress
from swarmeval.workers.replica_spec import ReplicaSpec

HEADER = struct.Struct(">I")  # length of the body, in bytes
MOST_BYTES = (1 << 32) - 1  # as many as HEADER can say


class Start(Struct, frozen=True, tag=True):
    """Load this replica. `life` counts the starts of this device's worker, from 0."""

    spec: ReplicaSpec
    life: int


class Submit(Struct, frozen=True, tag=True):
    requests: tuple[Request, ...]


class Cancel(Struct, frozen=True, tag=True):
    """Nobody waits for these any more."""

    job_ids: tuple[str, ...]


class Drain(Struct, frozen=True, tag=True):
    """Forget what has not begun, and say what that was."""


class Finish(Struct, frozen=True, tag=True):
    """End by yourself, and soon: a traced worker has something to write first."""


class Ready(Struct, frozen=True, tag=True):
    info: ReplicaInfo


class LoadFailed(Struct, frozen=True, tag=True):
    """The replica cannot be loaded; `kind` is the name of the UserError when trying again is useless."""

    reason: str
    kind: Literal["ModelUnavailable", "DeviceError", ""]


class Answers(Struct, frozen=True, tag=True):
    answers: tuple[Reply | Refusal, ...]


class Pieces(Struct, frozen=True, tag=True):
    pieces: tuple[Piece, ...]


class Dropped(Struct, frozen=True, tag=True):
    job_ids: tuple[str, ...]


class Fatal(Struct, frozen=True, tag=True):
    """The last words of a worker that cannot go on."""

    reason: str


ToWorker = Start | Submit | Cancel | Drain | Finish
FromWorker = Ready | LoadFailed | Answers | Pieces | Dropped | WorkerProgress | Fatal

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


class NotEncodable(ValueError):
    """A message holds a value that MessagePack cannot carry; str() names it."""


def pack(message: ToWorker | FromWorker) -> bytes:
    """The bytes of one message. Raises NotEncodable."""
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError as error:
        raise NotEncodable(f"a lone surrogate, \\u{ord(error.object[error.start]):04x}, is not valid text") from None
    except OverflowError:
        raise NotEncodable("an integer does not fit into 64 bits") from None
    except (TypeError, msgspec.EncodeError) as error:
        raise NotEncodable(str(error)) from None


def frame(message: ToWorker | FromWorker, most_bytes: int = MOST_BYTES) -> bytes:
    """The bytes of one message, its length first. Raises NotEncodable."""
    body = pack(message)
    if len(body) > most_bytes:
        raise NotEncodable(f"a message of {len(body):,} bytes is too long to send")
    return HEADER.pack(len(body)) + body


def read_to_worker(body: bytes) -> ToWorker:
    return _to_worker.decode(body)


def read_from_worker(body: bytes) -> FromWorker:
    """Raises msgspec.DecodeError for what is no message."""
    return _from_worker.decode(body)
