"""When a row has said all: end-of-text tokens, stop strings, the limit of tokens. Decodes only the newest tokens."""

from collections.abc import Sequence
from typing import Any

from swarmeval.engine.tokens import Detokenizer

_MARGIN = 4  # tokens decoded beyond the longest stop string, so that it never begins at the edge


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token id that ends a text: those of the generation config and the tokenizer's own."""
    stated = model.generation_config.eos_token_id
    ids = set(stated) if isinstance(stated, list) else {stated}
    return frozenset(ids - {None} | ({tokenizer.eos_token_id} - {None}))


class StopStrings:
    """Looks for the first of the stop strings in the output of one row."""

    def __init__(self, detokenizer: Detokenizer, stops: Sequence[str]) -> None:
        self._detokenizer = detokenizer
        self._stops = [stop for stop in stops if stop]
        # A token holds at least one byte, so this many tokens hold any stop string.
        self._span = _MARGIN + max((len(stop.encode()) for stop in self._stops), default=0)

    def reached(self, output: Sequence[int]) -> bool:
        """Whether the newest token completed a stop string; to be asked after each token."""
        if not self._stops:
            return False
        tail = self._detokenizer.tail(output, self._span)
        return any(stop in tail for stop in self._stops) and self.cut(self._detokenizer.text(output))[1]

    def begun(self, text: str) -> int:
        """How many of the last characters may be the beginning of a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        return max(
            (n for n in range(1, min(longest, len(text)) + 1) for stop in self._stops if stop.startswith(text[-n:])),
            default=0,
        )

    def cut(self, text: str) -> tuple[str, bool]:
        """The text before the first stop string, and whether there is one."""
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        return (text[: min(places)], True) if places else (text, False)


UNFINISHED = "\ufffd"  # what the first bytes of a character decode to


class Growth:
    """Text that can be sent before the answer is whole: no half character, and nothing that a stop string may cut."""

    def __init__(self, detokenizer: Detokenizer, stops: StopStrings, sent: int = 0) -> None:
        """`sent`: characters that were sent already, before the row began again."""
        self._detokenizer = detokenizer
        self._stops = stops
        self._settled = 0  # tokens whose text is final
        self._window = 0  # where decoding begins, so that a token's text does not depend on the cut before it
        self._text = ""  # of the settled tokens
        self.sent = sent

    def more(self, output: Sequence[int]) -> str:
        """What can be sent beyond the last call, of an output that has only grown. Cheap: decodes the newest tokens."""
        if len(output) > self._settled:
            before = self._detokenizer.part(output[: self._settled], self._window)
            now = self._detokenizer.part(output, self._window)
            if len(now) > len(before) and not now.endswith(UNFINISHED):
                self._text += now[len(before) :]
                self._window, self._settled = self._settled, len(output)
        until = len(self._text) - self._stops.begun(self._text)
        piece = self._text[self.sent : until]
        self.sent += len(piece)
        return piece
