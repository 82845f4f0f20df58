"""Messages between a worker and the coordinator: MessagePack, tagged by type, with a length prefix on sockets."""

import struct
from typing import Literal

import msgspec
from msgspec import Struct

from swarmeval.requests import Piece, Refusal, ReplicaInfo, Reply, Request, WorkerProgress
from swarmeval.workers.replica_spec import ReplicaSpec

HEADER = struct.Struct(">I")  # length of the body, in bytes
MOST_BYTES = (1 << 32) - 1  # limit of HEADER


class Start(Struct, frozen=True, tag=True):
    """Load this replica. `life` counts the starts of this device's worker, from 0."""

    spec: ReplicaSpec
    life: int


class Submit(Struct, frozen=True, tag=True):
    requests: tuple[Request, ...]


class Cancel(Struct, frozen=True, tag=True):
    """Drop these requests: their callers no longer wait for them."""

    job_ids: tuple[str, ...]


class Drain(Struct, frozen=True, tag=True):
    """Drop the requests that have not started; answered by Dropped."""


class Finish(Struct, frozen=True, tag=True):
    """Exit soon, after writing the trace. Sent to traced workers only."""


class Ready(Struct, frozen=True, tag=True):
    info: ReplicaInfo


class LoadFailed(Struct, frozen=True, tag=True):
    """The replica cannot be loaded. `kind` names the UserError if a retry cannot help."""

    reason: str
    kind: Literal["ConfigError", "ModelUnavailable", "DeviceError", ""]


class Answers(Struct, frozen=True, tag=True):
    answers: tuple[Reply | Refusal, ...]


class Pieces(Struct, frozen=True, tag=True):
    pieces: tuple[Piece, ...]


class Dropped(Struct, frozen=True, tag=True):
    job_ids: tuple[str, ...]


class Fatal(Struct, frozen=True, tag=True):
    """The reason why a worker is about to exit."""

    reason: str


ToWorker = Start | Submit | Cancel | Drain | Finish
FromWorker = Ready | LoadFailed | Answers | Pieces | Dropped | WorkerProgress | Fatal

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


class NotEncodable(ValueError):
    """A message holds a value that MessagePack cannot carry; str() names it."""


def pack(message: ToWorker | FromWorker) -> bytes:
    """Encode one message. Raises NotEncodable."""
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError as error:
        raise NotEncodable(f"a lone surrogate, \\u{ord(error.object[error.start]):04x}, is not valid text") from None
    except OverflowError:
        raise NotEncodable("an integer does not fit into 64 bits") from None
    except (TypeError, msgspec.EncodeError) as error:
        raise NotEncodable(str(error)) from None


def frame(message: ToWorker | FromWorker, most_bytes: int = MOST_BYTES) -> bytes:
    """Encode one message with its length prefix. Raises NotEncodable."""
    body = pack(message)
    if len(body) > most_bytes:
        raise NotEncodable(f"a message of {len(body):,} bytes is too long to send")
    return HEADER.pack(len(body)) + body


def read_to_worker(body: bytes) -> ToWorker:
    return _to_worker.decode(body)


def read_from_worker(body: bytes) -> FromWorker:
    """Decode one message. Raises msgspec.DecodeError if it is invalid."""
    return _from_worker.decode(body)
