"""Messages between processes of the sandbox: a length, a JSON body, and optional file descriptors."""

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct(">I")
MOST_DESCRIPTORS = 2


def write_frame(sock: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message. Raises OSError if the other end is closed."""
    body = json.dumps(message).encode()
    frame = LENGTH.pack(len(body)) + body
    sent = socket.send_fds(sock, [frame], descriptors) if descriptors else 0
    sock.sendall(frame[sent:])


def write_bytes(sock: socket.socket, body: bytes) -> None:
    """Send a message of raw bytes. Raises OSError if the other end is closed."""
    sock.sendall(LENGTH.pack(len(body)) + body)


def read_bytes(sock: socket.socket, most: int) -> bytes | None:
    """Read a message of raw bytes. Returns None if the other end is closed.

    Also returns None if the next message is malformed or longer than `most` bytes; that message stays in the socket.
    """
    header = sock.recv(LENGTH.size, socket.MSG_WAITALL | socket.MSG_PEEK)
    if len(header) < LENGTH.size or LENGTH.unpack(header)[0] > most:
        return None
    (length,) = LENGTH.unpack(sock.recv(LENGTH.size))
    body = sock.recv(length, socket.MSG_WAITALL)
    return body if len(body) == length else None


def read_frame(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Read the next message and its descriptors; None if the other end is closed."""
    header, descriptors, _, _ = socket.recv_fds(sock, LENGTH.size, MOST_DESCRIPTORS, socket.MSG_WAITALL)
    if len(header) == LENGTH.size:
        (length,) = LENGTH.unpack(header)
        body = sock.recv(length, socket.MSG_WAITALL)
        if len(body) == length:
            return json.loads(body), list(descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return None


def read_all(descriptor: int) -> dict[str, Any]:
    """Read one message from a bare descriptor. Raises OSError if the stream ends early."""
    (length,) = LENGTH.unpack(read_exactly(descriptor, LENGTH.size))
    work: dict[str, Any] = json.loads(read_exactly(descriptor, length))
    return work


def read_exactly(descriptor: int, length: int) -> bytes:
    body = bytearray()
    while len(body) < length:
        piece = os.read(descriptor, min(length - len(body), 1 << 20))
        if not piece:
            raise OSError("the order was truncated")
        body += piece
    return bytes(body)
