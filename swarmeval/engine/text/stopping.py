"""End of a row's text: end-of-text tokens and stop strings. Also the part of a text that is safe to stream.

Decodes only the newest tokens at each step.
"""

from collections.abc import Sequence
from typing import Any

from swarmeval.engine.text.tokens import Detokenizer

_MARGIN = 4  # extra tokens decoded before the longest stop string, so that it never starts at the cut


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """All end-of-text token ids: those of the generation config and that of the tokenizer."""
    stated = model.generation_config.eos_token_id
    ids = set(stated) if isinstance(stated, list) else {stated}
    return frozenset(ids - {None} | ({tokenizer.eos_token_id} - {None}))


class StopStrings:
    """Finds the first stop string in the output of one row."""

    def __init__(self, detokenizer: Detokenizer, stops: Sequence[str]) -> None:
        self._detokenizer = detokenizer
        self._stops = [stop for stop in stops if stop]
        # A token decodes to at least one byte, so this many tokens cover any stop string.
        self._span = _MARGIN + max((len(stop.encode()) for stop in self._stops), default=0)

    def __bool__(self) -> bool:
        """Whether there are any stop strings."""
        return bool(self._stops)

    def reached(self, output: Sequence[int]) -> bool:
        """Whether the newest token completed a stop string. Call it after every token."""
        if not self._stops:
            return False
        tail = self._detokenizer.tail(output, self._span)
        return any(stop in tail for stop in self._stops) and self.cut(self._detokenizer.text(output))[1]

    def begun(self, text: str) -> int:
        """Number of characters at the end of the text that could start a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        return max(
            (n for n in range(1, min(longest, len(text)) + 1) for stop in self._stops if stop.startswith(text[-n:])),
            default=0,
        )

    def cut(self, text: str) -> tuple[str, bool]:
        """The text before the first stop string, and whether there was one."""
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        return (text[: min(places)], True) if places else (text, False)


UNFINISHED = "\ufffd"  # an incomplete UTF-8 sequence decodes to it


class Growth:
    """Splits a growing answer into pieces to stream. Holds back incomplete characters and possible stop strings."""

    def __init__(self, detokenizer: Detokenizer, stops: StopStrings, begun: str = "") -> None:
        """`begun`: text of the answer before its first whole token."""
        self._detokenizer = detokenizer
        self._stops = stops
        self._settled = 0  # tokens whose text is final
        self._window = 0  # first decoded token: one piece earlier, since a token's text may depend on its predecessor
        self._text = begun  # text of the settled tokens
        self._sent = 0  # characters

    def more(self, output: Sequence[int]) -> str:
        """The next piece to send. `output` must extend that of the last call. Decodes only the newest tokens."""
        if len(output) > self._settled:
            before = self._detokenizer.part(output[: self._settled], self._window)
            now = self._detokenizer.part(output, self._window)
            if len(now) > len(before) and not now.endswith(UNFINISHED):
                self._text += now[len(before) :]
                self._window, self._settled = self._settled, len(output)
        until = len(self._text) - self._stops.begun(self._text)
        piece = self._text[self._sent : until]
        self._sent += len(piece)
        return piece
