"""Exchanges lines of text between the process of a program and the process of its tests."""

import os

LONGEST = 64 << 20


class Lines:
    """One end of the channel."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._received = bytearray()

    def send(self, text: str) -> None:
        """Send a line. Raises OSError if the other end is closed."""
        left = memoryview(text.encode() + b"\n")
        while left:
            left = left[os.write(self._descriptor, left) :]

    def receive(self) -> bytes | None:
        """The next line; None if the other end is closed or the line is too long."""
        while (end := self._received.find(b"\n")) < 0:
            searched = len(self._received)
            piece = os.read(self._descriptor, 1 << 16) if searched < LONGEST else b""
            if not piece:
                return None
            self._received += piece
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line
