"""Choice of the next tokens of every row: repetition penalty, temperature, top_k, top_p, in transformers' order.

A row may have any number of draws. Each depends only on the row's logits and history, its own settings and its own
uniform. What several draws of a row have in common is computed once. Does not know about models or queues.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swarmeval.engine.draw import Distribution, Penalty, SamplingLimits, Scores, distribution, likeliest
from swarmeval.engine.kernels.native import NativeKernels
from swarmeval.engine.upload import upload

_WIDTH = 256  # initial capacity for a row's history, in tokens; doubled when needed


@dataclass(frozen=True, slots=True)
class Choice:
    """Sampling settings."""

    do_sample: bool
    temperature: float
    top_k: int  # 0: no limit
    top_p: float
    repetition_penalty: float


Group = tuple[int, Choice]  # a row, and settings with which at least one token is drawn from it


class Sampler:
    """Chooses tokens for rows 0..n-1. New rows join at the end; the last row takes the place of an evicted one.

    Histories are kept on the device. A step reads back from it once, and a second time only if the best scores leave a
    draw undecided.
    """

    def __init__(self, rows: int, device: torch.device, kernels: NativeKernels | None = None) -> None:
        self._kernels = kernels
        self._lengths: list[int] = []
        self._history = torch.zeros(rows, _WIDTH, dtype=torch.long, device=device)  # [rows, width] token ids

    def admit(self, history: Sequence[int]) -> None:
        """Add a row at the end. As in transformers, the repetition penalty covers the prompt too."""
        row = len(self._lengths)
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
        self._lengths[row] = self._lengths[-1]
        self._lengths.pop()

    def choose(
        self, logits: Tensor, first: int, groups: Sequence[Group], draws: Sequence[int], uniforms: Sequence[float]
    ) -> tuple[list[int], Distribution]:
        """Draw tokens from rows first, first + 1, ..., whose logits [those rows, vocabulary] are of any float type.

        Draw i takes group draws[i] and uniforms[i]; rows in `groups` count from `first`. Returns the token of each
        draw, NO_TOKEN if the logits are NaN, and the distribution of each group.
        """
        rows = [row for row, _ in groups]
        choices = [choice for _, choice in groups]
        if rows != list(range(len(logits))):
            logits = logits[upload(rows, torch.long, logits.device)]
        scores = Scores(logits, self._penalty([first + row for row in rows], choices), self._kernels)
        limits = None
        if any(choice.do_sample for choice in choices):
            limits = _limits(choices, scores.vocabulary, logits.device)
            found = distribution(scores, limits)
            greedy = upload([not choice.do_sample for choice in choices], torch.bool, logits.device)
            found = Distribution(found.ids, found.reached, found.total, found.kept, found.certain | greedy, found.whole)
        else:
            found = likeliest(scores)
        of, uniform = upload([draws, uniforms], torch.float64, logits.device)
        tokens, undecided = found.draw(of.long(), uniform)
        if limits is None:
            return tokens.tolist(), found
        token_ids, open_draws = torch.stack([tokens, undecided.long()]).tolist()
        if any(open_draws):
            tokens = self._draw_from_all(scores, limits, of.long(), uniform, tokens, undecided)
            token_ids = tokens.tolist()
        return token_ids, found

    def _draw_from_all(
        self, scores: Scores, limits: SamplingLimits, of: Tensor, uniform: Tensor, tokens: Tensor, undecided: Tensor
    ) -> Tensor:
        """Repeat the undecided draws with the whole vocabulary; return all tokens."""
        groups, places = torch.unique(of[undecided], return_inverse=True)
        everything = distribution(Scores(scores.of(groups)), limits.of(groups), scores.vocabulary)
        drawn, _ = everything.draw(places, uniform[undecided])
        return tokens.masked_scatter(undecided, drawn)

    def _penalty(self, rows: Sequence[int], choices: Sequence[Choice]) -> Penalty | None:
        if all(choice.repetition_penalty == 1.0 for choice in choices):
            return None
        device, lengths = self._history.device, [self._lengths[row] for row in rows]
        index, count = upload([rows, lengths], torch.long, device)
        strength = upload([choice.repetition_penalty for choice in choices], torch.float32, device)
        return Penalty(self._history[index, : max(lengths)], count.int(), strength)

    def _reserve(self, width: int) -> None:
        current = self._history.shape[1]
        if width > current:
            more = self._history[:, :1].expand(-1, max(width, 2 * current) - current)
            self._history = torch.cat([self._history, more], dim=1)


def _limits(choices: Sequence[Choice], vocabulary: int, device: torch.device) -> SamplingLimits:
    values = [(c.temperature if c.do_sample else 1.0, float(c.top_k), c.top_p) for c in choices]
    temperature, top_k, top_p = upload(values, torch.float32, device).T.contiguous()
    whole = [index for index, choice in enumerate(choices) if not 0 < choice.top_k < vocabulary]
    unlimited = upload(whole, torch.long, device) if whole else None
    return SamplingLimits(temperature, top_k.long(), top_p, unlimited)
