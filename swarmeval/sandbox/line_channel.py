"""Lines of text over a descriptor, between the process of a program and that of its tests."""

import os

LONGEST = 64 << 20


class Lines:
    """One end of the talk."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._received = bytearray()

    def send(self, text: str) -> None:
        """Raises OSError when the other end is gone."""
        left = memoryview(text.encode() + b"\n")
        while left:
            left = left[os.write(self._descriptor, left) :]

    def receive(self) -> bytes | None:
        """The next line; None when the other end is closed or says more than it may."""
        while (end := self._received.find(b"\n")) < 0:
            searched = len(self._received)
            piece = os.read(self._descriptor, 1 << 16) if searched < LONGEST else b""
            if not piece:
                return None
            self._received += piece
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line
