"""How the next token of every row is chosen: repetition penalty, temperature, top_k, top_p, in transformers' order.

A row's token depends on its own logits, settings, history and seed alone, never on its neighbours: each row draws one
uniform a step from a stream of its own. Knows no model and no queue.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW = 128  # how many of a row's best tokens are looked at before its whole vocabulary is sorted
_BLOCK = 16  # tokens whose best stands for them; about the root of a vocabulary over WINDOW
_WIDTH = 256  # tokens of history to begin with; doubled as rows grow


@dataclass(frozen=True, slots=True)
class Choice:
    """The settings of one row. `seed` starts its stream of uniforms."""

    do_sample: bool
    temperature: float
    top_k: int  # 0: no limit
    top_p: float
    repetition_penalty: float
    seed: int


class Sampler:
    """Chooses tokens for rows 0..n-1; rows join at the end, and the last row takes the place of one that leaves."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self._choices: list[Choice] = []
        self._streams: list[random.Random] = []
        self._lengths: list[int] = []
        self._history = torch.zeros(rows, _WIDTH, dtype=torch.long, device=device)  # [rows, width] token ids
        # [4, rows]: temperature, top_k, top_p, repetition penalty
        self._settings = torch.ones(4, rows, dtype=torch.float32, device=device)

    def admit(self, choice: Choice, prompt: Sequence[int]) -> None:
        """Add a row at the end; the repetition penalty counts its prompt as transformers does."""
        row = len(self._choices)
        self._reserve(len(prompt) + 1)
        self._choices.append(choice)
        self._streams.append(random.Random(choice.seed))
        self._lengths.append(len(prompt))
        self._history[row] = prompt[0]  # what fills the rest must be a token that is there anyway
        self._history[row, : len(prompt)] = torch.tensor(prompt, device=self._history.device)
        temperature = choice.temperature if choice.do_sample else 1.0
        values = (temperature, float(choice.top_k), choice.top_p, choice.repetition_penalty)
        self._settings[:, row] = torch.tensor(values, device=self._settings.device)

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
        """The next token of rows first, first + 1, ...; logits is [those rows, vocabulary], fp32, and overwritten."""
        rows = slice(first, first + logits.shape[0])
        choices = self._choices[rows]
        temperature, top_k, top_p, penalty = self._settings[:, rows]
        if any(choice.repetition_penalty != 1.0 for choice in choices):
            penalize(logits, self._history[rows, : max(self._lengths[rows])], penalty)
        greedy = [not choice.do_sample for choice in choices]
        if all(greedy):
            tokens = logits.argmax(dim=-1)
        else:
            uniforms = [stream.random() for stream in self._streams[rows]]
            uniform = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)
            tokens = draw(logits, top_k.long(), top_p, uniform, temperature=temperature)
            if any(greedy):
                certain = torch.tensor(greedy, device=logits.device)
                tokens[certain] = logits[certain].argmax(dim=-1)
        self._remember(rows, tokens)
        return [int(token) for token in tokens.tolist()]

    def _remember(self, rows: slice, tokens: Tensor) -> None:
        self._reserve(max(self._lengths[rows]) + 1)
        device = self._history.device
        index = torch.arange(rows.start, rows.stop, device=device)
        self._history[index, torch.tensor(self._lengths[rows], device=device)] = tokens
        self._lengths[rows] = [length + 1 for length in self._lengths[rows]]

    def _reserve(self, width: int) -> None:
        have = self._history.shape[1]
        if width > have:
            more = self._history[:, :1].expand(-1, max(width, 2 * have) - have)
            self._history = torch.cat([self._history, more], dim=1)


def penalize(logits: Tensor, history: Tensor, penalty: Tensor) -> None:
    """Make the tokens of [rows, width] history less likely, in place (Keskar et al. 2019, as transformers has it)."""
    seen = logits.gather(1, history)
    penalty = penalty[:, None]
    logits.scatter_(1, history, torch.where(seen < 0, seen * penalty, seen / penalty))


def draw(
    scores: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    uniform: Tensor,
    window: int = WINDOW,
    temperature: Tensor | None = None,
) -> Tensor:
    """One token id a row, from [rows, vocabulary] scores over [rows] temperatures (1 where left out); 0 is no top_k.

    Only the best `window` scores are put in order. Rows that these cannot decide are drawn from all scores.
    """
    temperature = torch.ones_like(top_p) if temperature is None else temperature
    width = min(window, scores.shape[1])
    values, ids = _best(scores, width)
    weights, whole, certain = _kept(scores, values, top_k, top_p, temperature[:, None])
    reached = weights.cumsum(dim=-1)
    target = uniform * whole
    place = (reached <= target[:, None]).sum(dim=-1)
    last = (weights > 0).sum(dim=-1) - 1
    tokens = ids.gather(1, torch.minimum(place, last)[:, None])[:, 0]
    undecided = ~(certain & ((target < reached[:, -1]) | (width == scores.shape[1])))
    if width < scores.shape[1] and bool(undecided.any()):
        some = (scores[undecided], top_k[undecided], top_p[undecided], uniform[undecided])
        tokens[undecided] = draw(*some, window=scores.shape[1], temperature=temperature[undecided])
    return tokens


def _best(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The best scores of each row and their ids, best first, equal ones by id: [rows, width] each."""
    if width == scores.shape[1]:
        values, ids = scores.sort(dim=-1, descending=True, stable=True)
        return values, ids
    # topk orders equal scores as it likes; bf16 logits are often equal.
    values, ids = _topk(scores, width)
    ids, order = ids.sort(dim=-1)
    values, order = values.gather(1, order).sort(dim=-1, descending=True, stable=True)
    return values, ids.gather(1, order)


def _topk(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The `width` best scores of each row and their ids, in no order.

    Tokens j, j + blocks, j + 2 blocks, ... are block j. The best lie in the `width` blocks with the best maxima, or in
    what is left over behind the last whole block: looking only there takes a third of the time.
    """
    vocabulary = scores.shape[1]
    blocks = vocabulary // _BLOCK
    if blocks <= width:
        return scores.topk(width, dim=-1, sorted=False)
    whole = scores[:, : blocks * _BLOCK].view(-1, _BLOCK, blocks)
    best = whole.amax(dim=1).topk(width, dim=-1, sorted=False).indices  # [rows, width] block numbers
    inside = whole.gather(2, best[:, None, :].expand(-1, _BLOCK, -1)).flatten(1)
    rest = scores[:, blocks * _BLOCK :]
    found = torch.cat([inside, rest], dim=1) if rest.shape[1] else inside
    values, places = found.topk(width, dim=-1, sorted=False)
    ids = best.gather(1, places % width) + places // width * blocks
    return values, torch.where(places < inside.shape[1], ids, places - inside.shape[1] + blocks * _BLOCK)


def _kept(
    scores: Tensor, values: Tensor, top_k: Tensor, top_p: Tensor, temperature: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the best scores [rows, width], 0 where top_k or top_p drop them; the weight of all that is kept,
    in the window or beyond [rows]; and whether the window decides what is kept [rows].
    """
    width, vocabulary = values.shape[1], scores.shape[1]
    everything = width == vocabulary
    limited = (top_k > 0) & (top_k <= width)
    unlimited = (top_k == 0) | (top_k >= vocabulary)
    # top_k keeps every score equal to the k-th, as transformers does.
    kth = values.gather(1, (top_k.clamp(1, width) - 1)[:, None])
    in_k = (values >= kth) | ~limited[:, None]
    weights = ((values - values[:, :1]) / temperature).double().exp() * in_k
    mass = weights.sum(dim=-1)
    if not everything and bool(unlimited.any()):  # a sum over the vocabulary costs ten times what the rest does
        beyond = ((scores[unlimited] - values[unlimited, :1]) / temperature[unlimited]).exp()
        mass[unlimited] = beyond.sum(dim=-1, dtype=torch.float64)
    weights = weights / mass[:, None]
    before = weights.cumsum(dim=-1) - weights
    in_p = (before < top_p[:, None]) | (top_p >= 1.0)[:, None]
    in_p[:, 0] = True
    kept = weights * in_p
    all_kept = unlimited & (top_p >= 1.0)  # even what lies beyond the window
    certain = (limited & (values[:, -1:] < kth)[:, 0]) | (unlimited & ~in_p[:, -1]) | all_kept
    whole = torch.where(all_kept & (not everything), 1.0, kept.sum(dim=-1))
    return kept, whole, certain | everything
