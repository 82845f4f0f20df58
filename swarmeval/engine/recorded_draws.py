"""The check at load that recorded draws choose the tokens of plain ones."""

import logging
from collections.abc import Callable

import torch

from swarmeval.engine.graphs import Graphs, Recorder
from swarmeval.engine.sampler import Choice, Sampler

_ROWS = 5
_ROUNDS = 3  # the first is recorded, the others are replays
_CHOICES = (
    Choice(True, 0.7, 40, 0.9, 1.1),
    Choice(True, 1.0, 0, 0.95, 1.0),
    Choice(False, 1.0, 0, 1.0, 1.0),
)

log = logging.getLogger("swarmeval")


def checked(
    begin: Callable[[], Recorder], vocabulary: int, device: torch.device, dtype: torch.dtype
) -> Callable[[], Recorder] | None:
    """`begin` (see Graphs) if draws that it records are right; None, with the reason logged, if not."""
    graphs = Graphs(begin)
    if _agree(graphs, vocabulary, device, dtype):
        return begin
    log.warning("draws are not recorded: %s", graphs.fault or "their tokens differ from plain ones")
    return None


@torch.inference_mode()
def _agree(graphs: Graphs, vocabulary: int, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether recorded draws are right: several settings per row, other logits and uniforms each time."""
    recorded, plain = Sampler(_ROWS, device, step=graphs), Sampler(_ROWS, device)
    for row in range(_ROWS):
        for sampler in (recorded, plain):
            sampler.admit([(row * 7 + token) % vocabulary for token in range(20)])
    generator = torch.Generator().manual_seed(0)
    groups = [(row, choice) for row in range(_ROWS) for choice in _CHOICES]
    draws = [place for place in range(len(groups)) for _ in range(2)]
    for _ in range(_ROUNDS):
        logits = (4 * torch.randn(_ROWS, vocabulary, generator=generator)).to(device, dtype)
        uniforms = torch.rand(len(draws), generator=generator, dtype=torch.float64).tolist()
        found, expected = (sampler.choose(logits, 0, groups, draws, uniforms)[0] for sampler in (recorded, plain))
        if found != expected:
            return False
    graphs.forget()
    return graphs.fault is None
