"""Step 2 of cuda_check: the logits of every decoder beside plain decoding, for random models of every family.

Plain decoding is one forward over a whole token history, without a cache. Rows share prompts, branch, leave and arrive.
"""

import copy
import functools
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks import cuda_model
from benchmarks.cuda_model import DECODERS, Recording, Weights
from benchmarks.cuda_parts import Absent, Found, Part
from swarmeval.engine import decoder_choice
from swarmeval.engine.common_prefix import MIN_TOKENS, Prompt
from swarmeval.engine.decoder import Decoder
from swarmeval.engine.graphs import Graphs
from swarmeval.engine.sampler import Choice, Sampler
from swarmeval.engine.weights import weight_cache
from tests.support import tiny_model

SLIDING: list[tuple[str, dict[str, Any]]] = [
    ("Gemma2", {"head_dim": 32}),
    ("Mistral", {"sliding_window": 8}),
]
FAMILIES = [*tiny_model.FULL_ATTENTION, *SLIDING]
REHEARSED = [tiny_model.FULL_ATTENTION[0], SLIDING[0]]
WEIGHTS: tuple[Weights, ...] = ("bf16", "fused", "nf4", "fp32")
SHAPE = "Llama-3.1-8B's shape"
ROWS, LONGEST = 16, 128  # room in a decoder
NEW_TOKENS = 24
QUIET_STEPS = 10  # in which the host must not wait for the GPU


def parts(device: str) -> Iterator[Part]:
    """All parts of the step, the most important first."""
    config = cuda_model.scale_of(device).config
    for weights in WEIGHTS[:-1]:
        make = functools.partial(cuda_model.llama, config)
        yield part(SHAPE, make, weights, device, all_decoders=True, large=True)
        cuda_model.free()
    yield Part("no waiting of the host", functools.partial(waiting, device))
    for weights in WEIGHTS:
        for name, changes in FAMILIES if device != "cpu" else REHEARSED:
            title = " ".join([name, *(f"{key}={value}" for key, value in changes.items())])
            make = functools.partial(tiny_model.family, name, **changes)
            yield part(title, make, weights, device, all_decoders=(name, changes) not in SLIDING)


def part(title: str, make: Callable[[], Any], weights: Weights, device: str, **options: bool) -> Part:
    """One model with one kind of weights."""
    work = functools.partial(compared, make, weights, device, **options)
    return Part(f"{title}, {weights}", work, ("bitsandbytes",) if weights == "nf4" else ())


@torch.inference_mode()
def compared(make: Callable[[], Any], weights: Weights, device: str, all_decoders: bool, large: bool = False) -> Found:
    """The differences of decoders from plain decoding, as shares of the logits' norm.

    `rounding` is the same difference of plain decoding from fp32, and `rounding_errors` the largest one in its units;
    a large model has none, to save memory.
    """
    made = cuda_model.prepared(make, weights, device, compiled=large)
    model = cuda_model.prepared(make, "bf16", device).model if weights == "fused" else made.model
    exact = in_fp32(model, weights) if not large and weights != "fp32" else None
    begin = Recording(device).begin
    found: dict[str, Any] = {}
    differences: dict[str, float] = {}
    budget = tiny_model.budget(made.model, ROWS)
    for way, begun in (("chosen", begin), ("chosen without graphs", None)):
        chosen = decoder_choice.fitted(made.model, budget, None, begin=begun, portable=made.kernels)
        found[way] = chosen.name
        differences[way], histories = difference(model, chosen.decoder)
    for name, decoder in DECODERS.items() if all_decoders else ():
        try:
            differences[name], histories = difference(model, decoder(made, ROWS, LONGEST, begin))
        except Absent as absence:
            found[name] = f"needs {absence}"
    found |= {"differences": {name: round(share, 6) for name, share in differences.items()}}
    if exact is not None:
        scale = relative(plain(model, histories), plain(exact, histories))
        found |= {"rounding": round(scale, 6), "rounding_errors": round(max(differences.values()) / scale, 2)}
    return {"passed": all(share <= decoder_choice.tolerance(model) for share in differences.values()), **found}


def in_fp32(model: Any, weights: Weights) -> Any:
    """A copy of the model that computes with the same weights in fp32."""
    exact = copy.deepcopy(model)
    if weights == "nf4":
        weight_cache.dequantize(exact)
    return exact.float()


def difference(model: Any, decoder: Decoder) -> tuple[float, list[Prompt]]:
    """The difference of a decoder's logits from plain decoding, and the token histories that it was tried with."""
    trial = Trial(decoder, model.config.get_text_config().vocab_size)
    trial.run()
    return relative(torch.stack(trial.logits), plain(model, trial.histories)), trial.histories


def relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def plain(model: Any, histories: Sequence[Prompt]) -> Tensor:
    """The logits after each history: [histories, vocabulary], fp32. One forward serves a history and its beginnings."""
    whole: dict[Prompt, Tensor] = {}
    logits: dict[Prompt, Tensor] = {}
    for history in sorted(set(histories), key=len, reverse=True):
        longer = next((other for other in whole if other[: len(history)] == history), history)
        if longer not in whole:
            whole[longer] = model(torch.tensor([longer], device=model.device), use_cache=False).logits[0].float()
        logits[history] = whole[longer][len(history) - 1]
    return torch.stack([logits[history] for history in histories])


class Trial:
    """Rows that share prompts, branch, leave and arrive; all logits, and the token histories that they follow."""

    def __init__(self, decoder: Decoder, vocabulary: int) -> None:
        self.logits: list[Tensor] = []
        self.histories: list[Prompt] = []
        self._decoder = decoder
        self._chance = random.Random(7)
        self._vocabulary = vocabulary
        self._rows: list[Prompt] = []
        beginning = self._tokens(2 * MIN_TOKENS + 3)
        self._prompts = [self._tokens(3 * MIN_TOKENS), beginning, (*beginning, *self._tokens(9)), self._tokens(5)]

    def run(self) -> None:
        self.join([self._prompts[index] for index in (0, 1, 2, 0, 1, 2, 3, 0, 1, 2)])
        self.decode(3)
        self.fork(0, len(self._rows[0]))
        self.fork(4, len(self._prompts[1]) + 1)
        self.decode(3)
        for row in (2, 0, 5):
            self.evict(row)
        self.decode(1)
        self.join([self._prompts[0]] * 2, self._tokens(4))
        self.decode(4)

    def join(self, prompts: Sequence[Prompt], answer: Prompt = ()) -> None:
        for prompt in prompts:
            if self._decoder.join(prompt, NEW_TOKENS, answer) is None:
                raise RuntimeError("the decoder has no memory for another row")
        self._rows += [(*prompt, *answer) for prompt in prompts]
        self._keep(self._decoder.prefill(), self._rows[-len(prompts) :])

    def fork(self, row: int, length: int) -> None:
        """Branch off a row's first tokens; like the engine, join a new row if the decoder cannot."""
        if self._decoder.fork(row, length, NEW_TOKENS):
            self._rows.append(self._rows[row][:length])
        else:
            self.join([self._rows[row][:length]])

    def decode(self, steps: int) -> None:
        for _ in range(steps):
            tokens = self._tokens(len(self._rows))
            self._rows = [(*history, token) for history, token in zip(self._rows, tokens, strict=True)]
            self._keep(self._decoder.decode(tokens), self._rows)

    def evict(self, row: int) -> None:
        self._decoder.evict(row)
        self._rows[row] = self._rows[-1]
        self._rows.pop()

    def _keep(self, logits: Tensor, histories: Sequence[Prompt]) -> None:
        self.logits += logits.float()
        self.histories += histories

    def _tokens(self, count: int) -> Prompt:
        return tuple(self._chance.randrange(self._vocabulary) for _ in range(count))


@torch.inference_mode()
def waiting(device: str) -> Found:
    """Operations for which the host waits in ten steps of each decoder, and in ten draws of tokens."""
    config = cuda_model.scale_of(device).config
    made = cuda_model.prepared(lambda: cuda_model.llama(config), "fused", device, compiled=False)
    found: dict[str, Any] = {}
    for name, make in DECODERS.items():
        try:
            decoder = make(made, ROWS, LONGEST, Recording(device).begin)
        except Absent as absence:
            found[name] = f"needs {absence}"
            continue
        tokens = list(range(ROWS - 1))
        for row in tokens:
            decoder.join(cuda_model.some_tokens(f"task {row % 2}", 2 * MIN_TOKENS, 512), NEW_TOKENS)
        decoder.prefill()
        for _ in range(2):  # records
            decoder.decode(tokens)
        found[name] = waits(functools.partial(decoder.decode, tokens), device)
    sampler, choice = (
        Sampler(1, made.model.device, step=Graphs(Recording(device).begin)),
        Choice(True, 0.25, 40, 0.9, 1.1),
    )
    sampler.admit([1, 2, 3])
    logits = torch.randn(1, 512, device=device)
    draw = functools.partial(sampler.choose, logits, 0, [(0, choice)], [0], [0.5])
    draw()  # records
    found["draws"] = waits(draw, device)
    quiet = not any(isinstance(found[name], list) and found[name] for name in DECODERS)
    return {"passed": quiet and len(found["draws"]) <= QUIET_STEPS, **found}


def waits(work: Callable[[], object], device: str) -> list[str]:
    """The warnings of torch about ten calls that wait for the GPU; on a CPU, operations that would wait."""
    if device == "cpu":
        from tests.support.graph_recorder import host_waits

        return host_waits(lambda: [work() for _ in range(QUIET_STEPS)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(QUIET_STEPS):
                work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [str(warning.message)[:120] for warning in caught]
