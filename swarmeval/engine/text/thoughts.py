"""The thoughts in a model's output: where they end, ending them at their budget, and streaming them.

Markers are found in decoded text, special tokens included, because a marker can be any number of tokens.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from swarmeval.engine.text.stopping import Growth, StopStrings
from swarmeval.engine.text.tokens import Detokenizer
from swarmeval.requests import Thinking
from swarmeval.thinking import begins, family, separated

_MARGIN = 4  # tokens decoded before a marker, so that it never starts at the cut


def markers_of(tokenizer: Any) -> Thinking | None:
    """The markers of the model's family; None if it is not a known family of thinking models."""
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    return family(template, tokenizer.get_added_vocab())


@dataclass(frozen=True, slots=True)
class Parts:
    """The texts of an output."""

    text: str  # the answer
    stopped: bool  # whether it was cut at a stop string
    thought: str = ""
    thought_tokens: int | None = None  # None if thoughts are not separated


class Thoughts:
    """Finds the thought at the beginning of the outputs to one prompt."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int], thinking: Thinking, opened: bool = False) -> None:
        """`opened`: whether the prompt is known to end within a thought. That it ends with a start marker is seen."""
        self.raw = Detokenizer(tokenizer, prompt, special=True)
        self.thinking = thinking
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._end_ids: list[int] = tokenizer(thinking.end, add_special_tokens=False)["input_ids"]
        self._span = _MARGIN + len(thinking.end.encode())
        end_of_prompt = prompt[-_MARGIN - len(thinking.start.encode()) :]
        text = Detokenizer(tokenizer, (), special=True).text(end_of_prompt)
        self._opened = opened or text.rstrip().endswith(thinking.start)
        self._start_ids: list[int] = tokenizer(thinking.start, add_special_tokens=False)["input_ids"]
        begin = 0 if self._opened else len(self._start_ids)
        budget = thinking.budget_tokens
        self._budget = None if budget is None else max(budget, begin)  # a thought has begun once its marker is whole

    def forced(self, output: Sequence[int]) -> int | None:
        """The token that must come next because a thought is still open at its budget; None if the model may choose."""
        budget = self._budget
        if budget is None or not budget <= len(output) < budget + len(self._end_ids):
            return None
        begun = len(output) - budget
        is_due = list(output[budget:]) == self._end_ids[:begun] and self.is_open(output[:budget])
        return self._end_ids[begun] if is_due else None

    def budget_after_marker(self) -> int | None:
        """The budget counted from the end of the start marker, which may be in the prompt; None if there is none."""
        if self._budget is None:
            return None
        length = len(self._start_ids)
        if not self._opened:
            return self._budget - length
        places = range(len(self._prompt) - length, -1, -1)
        starts = (place for place in places if list(self._prompt[place : place + length]) == self._start_ids)
        return self._budget + len(self._prompt) - next(starts, len(self._prompt) - length) - length

    def is_open(self, output: Sequence[int]) -> bool:
        """Whether the output has begun a thought and not ended it."""
        text = self.raw.text(output)
        return (self._opened or begins(text, self.thinking)) and self.thinking.end not in text

    def answer_start(self, output: Sequence[int]) -> int | None:
        """The number of tokens before the answer; None while a thought is open or may still begin."""
        text = self.raw.text(output)
        if not self._opened and not begins(text, self.thinking):
            return None if self.thinking.start.startswith(text.lstrip()) else 0
        if self.thinking.end not in text:
            return None
        if len(self._end_ids) == 1 and self._end_ids[0] in output:
            return output.index(self._end_ids[0]) + 1
        lengths = range(len(output) + 1)
        return bisect_left(lengths, True, key=lambda length: self.thinking.end in self.raw.text(output[:length]))

    def may_have_ended(self, output: Sequence[int]) -> bool:
        """Whether the newest token may have ended a thought, or shown that there is none. A cheap first test."""
        return len(output) <= self._span or self.thinking.end in self.raw.tail(output, self._span)

    def parts(self, output: Sequence[int], stops: StopStrings) -> Parts:
        """The texts of a whole output, the answer cut at the first stop string."""
        start = self.answer_start(output)
        if start is None:
            start = len(output) if self.is_open(output) else 0
        thought, begun = self.separated(output[:start])
        return Parts(*stops.cut(begun + self.detokenizer(output[:start]).text(output[start:])), thought, start)

    def separated(self, begin: Sequence[int]) -> tuple[str, str]:
        """(thought, begin of the answer) in the tokens before the answer: the marker's last token may say more."""
        return separated(self.raw.text(begin), self.thinking, self._opened)

    def detokenizer(self, thought: Sequence[int]) -> Detokenizer:
        """Return the detokenizer of an answer after this thought."""
        return Detokenizer(self._tokenizer, [*self._prompt[-_MARGIN * 2 :], *thought])


class ThoughtGrowth:
    """Splits a growing output into pieces to stream: of the thought, then of the answer."""

    def __init__(self, thoughts: Thoughts, stops: StopStrings) -> None:
        self._thoughts = thoughts
        self._stops = stops
        self._raw = Growth(thoughts.raw, StopStrings(thoughts.raw, (thoughts.thinking.end,)))
        self._begun = False  # whether the start marker has passed, if there is one
        self._held = ""  # text of the thought that has not been sent
        self._sent = 0  # characters of the thought
        self._answer: Growth | None = None

    def more(self, output: Sequence[int], start: int | None) -> tuple[str, str]:
        """The next pieces of (answer, thought). `start`: as answer_start() says."""
        if start is None:
            return "", self._thought_piece(self._raw.more(output))
        thought = ""
        if self._answer is None:
            whole, begun = self._thoughts.separated(output[:start])
            thought = whole[self._sent :]
            self._answer = Growth(self._thoughts.detokenizer(output[:start]), self._stops, begun)
        return self._answer.more(output[start:]), thought

    def _thought_piece(self, new: str) -> str:
        """The part of the held and new text that is certainly the thought's, without white space around it."""
        self._held += new
        if not self._sent:
            self._held = self._held.lstrip()
        if not self._begun:
            marker = self._thoughts.thinking.start
            if marker.startswith(self._held):
                return ""
            self._begun, self._held = True, self._held.removeprefix(marker).lstrip()
        piece = self._held.rstrip()
        self._held, self._sent = self._held[len(piece) :], self._sent + len(piece)
        return piece
