"""The text of a row while it grows, for whoever wants to see it before it is whole."""

from collections.abc import Sequence

from workers.stopping import StopStrings
from workers.tokens import Reader

UNFINISHED = "\ufffd"  # what the first bytes of a character decode to


class Growth:
    """Text that can be told before the answer is whole: no half character, and nothing that a stop string may cut."""

    def __init__(self, reader: Reader, stops: StopStrings, told: int = 0) -> None:
        """`told`: characters that have been told already, in an earlier life of the row."""
        self._reader = reader
        self._stops = stops
        self._settled = 0  # tokens whose text is final
        self._window = 0  # where decoding begins, so that a token's text does not depend on the cut before it
        self._text = ""  # of the settled tokens
        self.told = told

    def more(self, output: Sequence[int]) -> str:
        """What can be told since the last call, of an output that has only grown. Cheap: decodes the newest tokens."""
        if len(output) > self._settled:
            before = self._reader.part(output[: self._settled], self._window)
            now = self._reader.part(output, self._window)
            if len(now) > len(before) and not now.endswith(UNFINISHED):
                self._text += now[len(before) :]
                self._window, self._settled = self._settled, len(output)
        until = len(self._text) - self._stops.begun(self._text)
        piece = self._text[self.told : until]
        self.told += len(piece)
        return piece
