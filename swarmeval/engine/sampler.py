"""Choice of the next token of every row: repetition penalty, temperature, top_k, top_p, in transformers' order.

A row's token depends only on its own logits, settings, history and seed: each row draws one uniform per step from its
own stream. Does not know about models or queues.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swarmeval.engine.draw import Penalty, SamplingLimits, Scores, draw
from swarmeval.engine.native import Kernels
from swarmeval.engine.upload import upload

_WIDTH = 256  # initial capacity for a row's history, in tokens; doubled when needed


@dataclass(frozen=True, slots=True)
class Choice:
    """The sampling settings of one row. `seed` starts its stream of uniforms."""

    do_sample: bool
    temperature: float
    top_k: int  # 0: no limit
    top_p: float
    repetition_penalty: float
    seed: int


class Sampler:
    """Chooses tokens for rows 0..n-1. New rows join at the end; the last row takes the place of an evicted one.

    Settings and histories are kept on the device. A step reads back from it once, and a second time only if the best
    scores leave a row undecided.
    """

    def __init__(self, rows: int, device: torch.device, kernels: Kernels | None = None) -> None:
        self._kernels = kernels
        self._choices: list[Choice] = []
        self._streams: list[random.Random] = []
        self._lengths: list[int] = []
        self._history = torch.zeros(rows, _WIDTH, dtype=torch.long, device=device)  # [rows, width] token ids
        # [4, rows]: temperature, top_k, top_p, repetition penalty
        self._settings = torch.ones(4, rows, dtype=torch.float32, device=device)

    def admit(self, choice: Choice, prompt: Sequence[int]) -> None:
        """Add a row at the end. As in transformers, the repetition penalty covers the prompt too."""
        row = len(self._choices)
        self._reserve(len(prompt) + 1)
        self._choices.append(choice)
        self._streams.append(random.Random(choice.seed))
        self._lengths.append(len(prompt))
        self._history[row] = prompt[0]  # padding must be a token that occurs in the row anyway
        self._history[row, : len(prompt)] = upload(prompt, torch.long, self._history.device)
        temperature = choice.temperature if choice.do_sample else 1.0
        values = (temperature, float(choice.top_k), choice.top_p, choice.repetition_penalty)
        self._settings[:, row] = upload(values, torch.float32, self._settings.device)

    def evict(self, row: int) -> None:
        last = len(self._choices) - 1
        self._choices[row] = self._choices[last]
        self._streams[row] = self._streams[last]
        self._lengths[row] = self._lengths[last]
        for column in (self._choices, self._streams, self._lengths):
            column.pop()
        self._history[row] = self._history[last]
        self._settings[:, row] = self._settings[:, last]

    def choose(self, logits: Tensor, first: int) -> list[int]:
        """Choose the next token of rows first, first + 1, ... `logits` is [those rows, vocabulary], any float type.

        Gives NO_TOKEN for a row whose logits are NaN; the caller must evict it.
        """
        rows = slice(first, first + logits.shape[0])
        sampled = [choice.do_sample for choice in self._choices[rows]]
        uniforms = [
            stream.random() if drawn else 0.0 for stream, drawn in zip(self._streams[rows], sampled, strict=True)
        ]
        numbers = upload([self._lengths[rows], uniforms], torch.float64, logits.device)
        lengths = numbers[0].int()
        scores = Scores(logits, self._penalty(rows, lengths), self._kernels)
        if any(sampled):
            tokens, token_ids = self._draw(scores, rows, numbers[1], sampled)
        else:
            tokens = scores.likeliest()
            token_ids = tokens.tolist()
        self._remember(rows, lengths, tokens)
        return [int(token) for token in token_ids]

    def _draw(self, scores: Scores, rows: slice, uniform: Tensor, sampled: Sequence[bool]) -> tuple[Tensor, list[int]]:
        """Draw the rows' tokens; return them as a device tensor and as host integers."""
        choices, device = self._choices[rows], self._settings.device
        temperature, top_k, top_p, _ = self._settings[:, rows]
        whole = [i for i, choice in enumerate(choices) if not 0 < choice.top_k < scores.vocabulary]
        unlimited = upload(whole, torch.long, device) if whole else None
        limits = SamplingLimits(temperature, top_k.long(), top_p, unlimited)
        tokens, undecided = draw(scores, limits, uniform)
        if not all(sampled):
            certain = ~upload(sampled, torch.bool, device)
            tokens = torch.where(certain, scores.likeliest(), tokens)
            undecided &= ~certain
        token_ids, open_rows = torch.stack([tokens, undecided.long()]).tolist()
        if any(open_rows):
            open_indexes = undecided.nonzero()[:, 0]
            tokens[open_indexes], _ = draw(
                Scores(scores.of(open_indexes)), limits.of(open_indexes), uniform[open_indexes], scores.vocabulary
            )
            token_ids = tokens.tolist()
        return tokens, token_ids

    def _penalty(self, rows: slice, lengths: Tensor) -> Penalty | None:
        if all(choice.repetition_penalty == 1.0 for choice in self._choices[rows]):
            return None
        return Penalty(self._history[rows, : max(self._lengths[rows])], lengths, self._settings[3, rows].contiguous())

    def _remember(self, rows: slice, lengths: Tensor, tokens: Tensor) -> None:
        self._reserve(max(self._lengths[rows]) + 1)
        index = torch.arange(rows.start, rows.stop, device=tokens.device)
        self._history[index, lengths.long()] = tokens.clamp(min=0)
        self._lengths[rows] = [length + 1 for length in self._lengths[rows]]

    def _reserve(self, width: int) -> None:
        current = self._history.shape[1]
        if width > current:
            more = self._history[:, :1].expand(-1, max(width, 2 * current) - current)
            self._history = torch.cat([self._history, more], dim=1)
