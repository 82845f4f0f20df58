"""Choice of the next tokens of every row: logit bias, penalties, temperature, top_k, top_p, min_p, in this order.

A row may have any number of draws. Each depends only on the row's logits and history, its own settings and its own
uniform. What several draws of a row have in common is computed once. Does not know about models or queues.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from swarmeval.engine.draw import (
    WINDOW,
    Adjustments,
    Distribution,
    Penalty,
    SamplingLimits,
    Scores,
    distribution,
    likeliest,
)
from swarmeval.engine.kernels.native import NativeKernels
from swarmeval.engine.steps import Eager, Step
from swarmeval.engine.upload import upload

_GRAIN = 16  # groups of a recorded draw are padded to a multiple of it
_WIDTH = 256  # initial capacity for a row's history, in tokens; doubled when needed


@dataclass(frozen=True, slots=True)
class Choice:
    """Sampling settings."""

    do_sample: bool
    temperature: float
    top_k: int  # 0: no limit
    top_p: float
    repetition_penalty: float
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()

    @property
    def adjusts(self) -> bool:
        """Whether it changes logits in other ways than the repetition penalty."""
        return bool(self.presence_penalty or self.frequency_penalty or self.logit_bias)

    @property
    def is_rare(self) -> bool:
        """Whether it has settings that recorded draws and compiled code do not know."""
        return self.adjusts or self.min_p > 0


Group = tuple[int, Choice]  # a row, and settings with which at least one token is drawn from it


@dataclass(frozen=True, slots=True)
class _Shape:
    """The number of groups and draws, and which parts of the work they need."""

    groups: int
    draws: int
    sampled: bool  # some group is not greedy
    penalized: bool
    unlimited: tuple[int, ...]  # groups whose top_k covers the vocabulary; of a recorded draw, all or none
    history: int  # width of the histories

    def rounded(self) -> "_Shape":
        """Round the numbers up, so that many draws share few recordings."""
        groups = -(-self.groups // _GRAIN) * _GRAIN
        draws = max(_GRAIN, 1 << (self.draws - 1).bit_length())
        return replace(self, groups=groups, draws=draws, unlimited=tuple(range(groups)) if self.unlimited else ())


class Sampler:
    """Chooses tokens for rows 0..n-1. New rows join at the end; the last row takes the place of an evicted one.

    Histories are kept on the device. A step reads back from it once, and a second time only if the best scores leave a
    draw undecided. With `step`, draws run through it over memory at fixed addresses, and can be recorded.
    """

    def __init__(
        self, rows: int, device: torch.device, kernels: NativeKernels | None = None, step: Step | None = None
    ) -> None:
        self._kernels = kernels
        self._lengths: list[int] = []
        self._prompts: list[int] = []  # lengths of the prompts, with which the histories begin
        self._history = torch.zeros(rows, _WIDTH, dtype=torch.long, device=device)  # [rows, width] token ids
        self._step: Step = step or Eager()
        self._rounded = step is not None
        self._logits: Tensor | None = None  # at a fixed address: [rows, vocabulary]
        self._numbers = torch.zeros(0, dtype=torch.float64, device=device)  # at a fixed address

    def admit(self, history: Sequence[int], prompt_tokens: int | None = None) -> None:
        """Add a row at the end, whose history begins with a prompt of `prompt_tokens` (None: is one).

        As in transformers, the repetition penalty covers the prompt too. The other penalties cover the output only.
        """
        row = len(self._lengths)
        self._prompts.append(len(history) if prompt_tokens is None else prompt_tokens)
        self._reserve(len(history) + 1)
        self._lengths.append(len(history))
        self._history[row] = history[0]  # padding must be a token that occurs in the row anyway
        self._history[row, : len(history)] = upload(history, torch.long, self._history.device)

    def append(self, tokens: Sequence[int]) -> None:
        """Append one token to the history of every row."""
        self._reserve(max(self._lengths) + 1)
        device = self._history.device
        rows = torch.arange(len(tokens), device=device)
        places, ids = upload([self._lengths, tokens], torch.long, device)
        self._history[rows, places] = ids
        self._lengths = [length + 1 for length in self._lengths]

    def evict(self, row: int) -> None:
        self._history[row] = self._history[len(self._lengths) - 1]
        for lengths in (self._lengths, self._prompts):
            lengths[row] = lengths[-1]
            lengths.pop()

    def choose(
        self, logits: Tensor, first: int, groups: Sequence[Group], draws: Sequence[int], uniforms: Sequence[float]
    ) -> tuple[list[int], Distribution]:
        """Draw tokens from rows first, first + 1, ..., whose logits [those rows, vocabulary] are of any float type.

        Draw i takes group draws[i] and uniforms[i]; rows in `groups` count from `first`. Returns the token of each
        draw, NO_TOKEN if the logits are NaN, and the distribution of each group.
        """
        choices = [choice for _, choice in groups]
        vocabulary = logits.shape[1]
        shape = _Shape(
            len(groups),
            len(draws),
            any(choice.do_sample for choice in choices),
            any(choice.repetition_penalty != 1.0 for choice in choices),
            tuple(index for index, choice in enumerate(choices) if not 0 < choice.top_k < vocabulary),
            max(self._lengths),
        )
        rare = any(choice.is_rare for choice in choices)
        rounded = self._rounded and not rare
        if rounded:
            shape = replace(shape, history=self._history.shape[1]).rounded()
        listed = _numbers_of(shape, first, groups, self._lengths, draws, uniforms)
        logits, numbers = (self._placed if rounded else _uploaded)(logits, listed)
        in_order = not rounded and [row for row, _ in groups] == list(range(len(logits)))
        adjustments = self._adjustments(first, groups) if any(choice.adjusts for choice in choices) else None
        min_p = upload([choice.min_p for choice in choices], torch.float, logits.device) if rare else None
        inputs = _Inputs(logits, self._history, numbers, shape, in_order, self._kernels, adjustments, min_p)
        drawn, ids, reached, total, kept, certain = (
            self._step.run(shape, lambda: _draw(inputs)) if rounded else _draw(inputs)
        )
        found = Distribution(ids, reached, total, kept, certain, min(WINDOW, vocabulary) == vocabulary)
        token_ids, open_draws = drawn[:, : len(draws)].tolist()
        if any(open_draws):
            token_ids = _draw_from_all(inputs, *drawn)[: len(draws)].tolist()
        return token_ids, found

    def _adjustments(self, first: int, groups: Sequence[Group]) -> Adjustments:
        """The adjustments of each group."""
        device, rows = self._history.device, [first + row for row, _ in groups]
        width = max(self._lengths[row] for row in rows)
        places = torch.arange(width, device=device)
        begins, ends = upload([[of[row] for row in rows] for of in (self._prompts, self._lengths)], torch.long, device)
        choices = [choice for _, choice in groups]
        penalties = [[choice.presence_penalty for choice in choices], [choice.frequency_penalty for choice in choices]]
        presence, frequency = upload(penalties, torch.float, device)
        biases = [(group, *bias) for group, choice in enumerate(choices) for bias in choice.logit_bias]
        biased = upload([[group, token] for group, token, _ in biases], torch.long, device).view(-1, 2)
        return Adjustments(
            self._history[rows, :width],
            (places >= begins[:, None]) & (places < ends[:, None]),
            presence,
            frequency,
            (biased[:, 0], biased[:, 1]),
            upload([bias for _, _, bias in biases], torch.float, device),
        )

    def _placed(self, logits: Tensor, numbers: Sequence[float]) -> tuple[Tensor, Tensor]:
        """The logits and numbers on the device, at fixed addresses, because draws may be recorded."""
        uploaded = upload(numbers, torch.float64, logits.device)
        if self._logits is None or self._logits.dtype != logits.dtype:
            self._step.forget()
            self._logits = logits.new_zeros(len(self._history), logits.shape[1])
        if len(uploaded) > len(self._numbers):
            self._step.forget()
            self._numbers = uploaded.new_zeros(2 * len(uploaded))
        self._logits[: len(logits)] = logits
        self._numbers[: len(uploaded)] = uploaded
        return self._logits, self._numbers[: len(uploaded)]

    def _reserve(self, width: int) -> None:
        current = self._history.shape[1]
        if width > current:
            self._step.forget()
            more = self._history[:, :1].expand(-1, max(width, 2 * current) - current)
            self._history = torch.cat([self._history, more], dim=1)


def _uploaded(logits: Tensor, numbers: Sequence[float]) -> tuple[Tensor, Tensor]:
    return logits, upload(numbers, torch.float64, logits.device)


def _numbers_of(
    shape: _Shape,
    first: int,
    groups: Sequence[Group],
    lengths: Sequence[int],
    draws: Sequence[int],
    uniforms: Sequence[float],
) -> list[float]:
    """All numbers of a draw in one list: eight per group, then two per draw.

    Padding is a greedy group of the first row, and draws from the first group.
    """
    more, more_draws = shape.groups - len(groups), shape.draws - len(draws)
    choices = [choice for _, choice in groups]
    return [
        *(row for row, _ in groups), *[0] * more,
        *(first + row for row, _ in groups), *[0] * more,
        *(lengths[first + row] for row, _ in groups), *[1] * more,
        *(choice.temperature if choice.do_sample else 1.0 for choice in choices), *[1.0] * more,
        *(choice.top_k for choice in choices), *[1] * more,
        *(choice.top_p for choice in choices), *[1.0] * more,
        *(choice.repetition_penalty for choice in choices), *[1.0] * more,
        *(not choice.do_sample for choice in choices), *[True] * more,
        *draws, *[0] * more_draws,
        *uniforms, *[0.0] * more_draws,
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs of one draw, on the device."""

    logits: Tensor  # [rows, vocabulary]
    history: Tensor  # [all rows, width]
    numbers: Tensor  # fp64, as _numbers_of gives them
    shape: _Shape
    in_order: bool  # group i is row i of the logits
    kernels: NativeKernels | None
    adjustments: Adjustments | None = None  # of each group
    min_p: Tensor | None = None  # of each group

    def scores_and_limits(self) -> tuple[Scores, SamplingLimits]:
        shape = self.shape
        rows, histories, lengths, temperature, top_k, top_p, strength, _ = self.of_groups()
        top_k, temperature = top_k.long(), temperature.float()
        penalty = None
        if shape.penalized:
            history = self.history[histories.long(), : shape.history]
            penalty = Penalty(history, lengths.int(), strength.float())
        unlimited = upload(shape.unlimited, torch.long, rows.device) if shape.unlimited else None
        if len(shape.unlimited) == shape.groups:
            unlimited = torch.arange(shape.groups, device=rows.device)  # an upload could not be recorded
        limits = SamplingLimits(temperature, top_k, top_p.float(), unlimited, self.min_p)
        logits = self.logits if self.in_order else self.logits[rows.long()]
        return Scores(logits, penalty, self.kernels, self.adjustments), limits

    def of_groups(self) -> Tensor:
        """[8, groups]: row of logits, row of history, its length, temperature, top_k, top_p, penalty, greedy."""
        return self.numbers[: 8 * self.shape.groups].view(8, -1)

    def of_draws(self) -> tuple[Tensor, Tensor]:
        """The group and the uniform of each draw."""
        group, uniform = self.numbers[8 * self.shape.groups :].view(2, -1)
        return group.long(), uniform


def _draw(inputs: _Inputs) -> tuple[Tensor, ...]:
    """Draw from the best scores: tokens and whether they are undecided [2, draws], then the parts of a Distribution.

    Reads no value back to the host.
    """
    scores, limits = inputs.scores_and_limits()
    if inputs.shape.sampled:
        found = distribution(scores, limits)
        found = replace(found, certain=found.certain | inputs.of_groups()[7].bool())
    else:
        found = likeliest(scores)
    tokens, undecided = found.draw(*inputs.of_draws())
    drawn = torch.stack([tokens, undecided.long()])
    return drawn, found.ids, found.reached, found.total, found.kept, found.certain


def _draw_from_all(inputs: _Inputs, tokens: Tensor, undecided: Tensor) -> Tensor:
    """Repeat the undecided draws with the whole vocabulary; return all tokens."""
    scores, limits = inputs.scores_and_limits()
    of, uniform = inputs.of_draws()
    is_open = undecided.bool()
    groups, places = torch.unique(of[is_open], return_inverse=True)
    everything = distribution(Scores(scores.of(groups)), limits.of(groups), scores.vocabulary)
    drawn, _ = everything.draw(places, uniform[is_open])
    return tokens.masked_scatter(is_open, drawn)
