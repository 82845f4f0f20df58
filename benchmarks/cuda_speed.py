"""Steps 3, 4 and 7 of cuda_check: decode steps, their kernels, and their limit; `generate` and vLLM beside them."""

import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import cuda_engine, cuda_model
from benchmarks.cuda_model import DECODERS, GRAPHS, Prepared, Recording, Scale, Weights
from benchmarks.cuda_parts import Absent, Found, Part
from swarmeval.engine.decoder import Decoder
from swarmeval.engine.graphs import Graphs
from swarmeval.engine.sampler import Choice, Group, Sampler

REFERENCE = Choice(True, 0.25, 40, 0.9, 1.1)  # config/config.yaml
ADMITTED_TOKENS = 2048  # prefilled at once, as in the engine
# Weights and decoders, the most important first. Unpacked NF4 is as fast as any other bf16.
MEASURED: dict[str, tuple[Weights, Sequence[str]]] = {
    "unpacked, fused": ("fused", ("pages, CUDA graphs", "slots, CUDA graphs")),
    "unpacked": ("bf16", tuple(DECODERS)),
    "packed": ("nf4", ("pages, CUDA graphs", "slots, CUDA graphs", "slots")),
}
WARM = 2  # steps before those that are timed
COSTLIEST = 15
LENGTHS = (704, 576, 448, 320, 192, 64)  # tokens of rows whose steps are recorded: the longest of the reference run
GENERATED = 16  # tokens per row by `generate`


def steps(device: str) -> Iterator[Part]:
    """Step 3: milliseconds per decode step and tokens/s, by weights, decoder and number of rows."""
    scale = cuda_model.scale_of(device)
    for title, (weights, decoders) in MEASURED.items():
        models: list[Prepared] = []
        yield model_part(title, models, weights, device)
        for name in decoders if models else ():
            bench = Bench(models[0], name, scale, device)
            for rows in scale.rows:
                yield Part(f"{title}, {name}, {rows} rows", functools.partial(bench.measure, rows))
            del bench
            cuda_model.free()
        models.clear()
        cuda_model.free()


def kernels(device: str) -> Iterator[Part]:
    """Step 4: the costliest kernels of a step, the GPU's idle time, and the time to record all steps."""
    scale = cuda_model.scale_of(device)
    models: list[Prepared] = []
    yield model_part("fused", models, "fused", device)
    if models:
        bench = Bench(models[0], cuda_model.fastest(models[0]), scale, device)
        for rows in (scale.rows[1], scale.rows[-1]):
            yield Part(f"kernels, {rows} rows", functools.partial(profiled, bench, rows))
        del bench
        cuda_model.free()
        yield Part("captures", functools.partial(captures, models[0], scale, device))


def peers(device: str) -> Iterator[Part]:
    """Step 7: the linear layers alone, `generate`, our engine with branches, and vLLM."""
    scale = cuda_model.scale_of(device)
    ours: list[float] = []
    kinds: tuple[Weights, ...] = ("bf16", "nf4", "fused")
    for weights in kinds:
        models: list[Prepared] = []
        yield model_part(weights, models, weights, device)
        if models and weights == "fused":
            work = functools.partial(cuda_engine.branching, models[0], scale, device, ours)
            yield Part("our engine with branches, fused", work, ("msgspec",))
        elif models:
            for rows in (scale.rows[1], scale.rows[-1]):
                work = functools.partial(floor, models[0].model, rows, scale)
                yield Part(f"linear layers alone, {weights}, {rows} rows", work)
        if models and weights == "bf16":
            yield Part(f"generate, bf16, {scale.rows[1]} rows", functools.partial(generate, models[0].model, scale))
        models.clear()
        cuda_model.free()
    yield Part("vLLM, bf16", functools.partial(vllm, scale, ours), ("vllm",))


def model_part(title: str, models: list[Prepared], weights: Weights, device: str) -> Part:
    """Make a model with random weights and append it to `models`."""

    def work() -> Found:
        with torch.inference_mode():
            config = cuda_model.scale_of(device).config
            models.append(cuda_model.prepared(lambda: cuda_model.llama(config), weights, device))
        cuda_model.wait(device)
        made = models[0]
        parts = {"parts": made.parts, "compiled": made.compiled} if weights == "fused" else {}
        return {"gb": round(made.model.get_memory_footprint() / 1e9, 3), **parts}

    return Part(f"{title}: the model", work, ("bitsandbytes",) if weights == "nf4" else ())


class Bench:
    """A decoder and a sampler that are filled up to a number of rows and timed there. Rows have equal lengths."""

    def __init__(self, made: Prepared, name: str, scale: Scale, device: str) -> None:
        self.device = device
        self.scale = scale
        self._most = max(scale.rows) + 1
        begin = Recording(device).begin
        self._make = functools.partial(DECODERS[name], made, self._most, scale.tokens, begin)
        self._decoder: Decoder | None = None
        self._sampler = Sampler(self._most, made.model.device, step=Graphs(begin) if GRAPHS in name else None)
        self._rows = 0
        self._length = scale.tokens - len(scale.rows) * (WARM + 2 * scale.steps)
        self._intact = True

    @torch.inference_mode()
    def measure(self, rows: int) -> Found:
        """Times per step, with and without the sampling of tokens."""
        if not self._intact:
            raise RuntimeError("not tried, since fewer rows failed")
        self._intact = False
        decoder = self._decoder = self._decoder or self._make()
        self._fill(decoder, rows)
        self.run(WARM)
        decode_s = self._timed(lambda: decoder.decode([1] * rows))
        step_s = self._timed(lambda: self.run(1))
        self._length += 2 * self.scale.steps + WARM
        self._intact = True
        return {
            "tokens_per_s": round(rows / step_s, 1),
            "step_ms": round(1000 * step_s, 3),
            "decode_ms": round(1000 * decode_s, 3),
            "length": self._length,
            "gb": round(torch.cuda.memory_allocated() / 1e9, 2) if self.device != "cpu" else None,
        }

    def run(self, steps: int) -> None:
        """Decode and sample this many times."""
        assert self._decoder is not None
        rows = range(self._rows)
        groups: list[Group] = [(row, REFERENCE) for row in rows]
        tokens = [1] * self._rows
        for _ in range(steps):
            self._sampler.append(tokens)
            tokens, _ = self._sampler.choose(self._decoder.decode(tokens), 0, groups, rows, [0.5] * self._rows)

    def _fill(self, decoder: Decoder, rows: int) -> None:
        waiting = 0
        for row in range(self._rows, rows):
            prompt, answer = cuda_model.history(row, self.scale, self._length)
            cost = decoder.join(prompt, self.scale.tokens - len(prompt), answer)
            if cost is None:
                raise RuntimeError(f"no memory for row {row + 1}")
            self._sampler.admit([*prompt, *answer])
            waiting += cost
            if waiting >= ADMITTED_TOKENS or row == rows - 1:
                decoder.prefill()
                waiting = 0
        self._rows = rows

    def _timed(self, work: Callable[[], object]) -> float:
        return timed(work, self.scale.steps, self.device)


def timed(work: Callable[[], object], calls: int, device: str) -> float:
    """Seconds per call."""
    cuda_model.wait(device)
    began = time.perf_counter()
    for _ in range(calls):
        work()
    cuda_model.wait(device)
    return (time.perf_counter() - began) / calls


@torch.inference_mode()
def profiled(bench: Bench, rows: int) -> Found:
    """The costliest kernels of a step (on a CPU, torch's operators), and the share of the step without any kernel."""
    measured = bench.measure(rows)
    device, count = bench.device, bench.scale.steps
    gpu = device != "cpu"
    with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as seen:
        bench.run(count)
        cuda_model.wait(device)
    averages = seen.key_averages()
    events = [(event, event.self_device_time_total if gpu else event.self_cpu_time_total) for event in averages]
    events = sorted(((event, spent) for event, spent in events if spent > 0), key=lambda pair: -pair[1])
    if not events:
        raise Absent("permission to profile the GPU: no kernel was seen")
    busy_ms = sum(spent for _, spent in events) / 1000 / count
    costliest = [
        {"name": event.key[:90], "ms": round(spent / 1000 / count, 4), "calls": round(event.count / count, 1)}
        for event, spent in events[:COSTLIEST]
    ]
    idle = {"idle_share": round(max(0.0, 1 - busy_ms / measured["step_ms"]), 4)} if gpu else {}
    launches = round(sum(event.count for event, _ in events) / count, 1)
    return {**measured, **idle, "busy_ms": round(busy_ms, 3), "launches": launches, "costliest": costliest}


@torch.inference_mode()
def captures(made: Prepared, scale: Scale, device: str) -> Found:
    """The time to record the steps of all numbers of rows and of all lengths that the reference run needs."""
    recording, most = Recording(device), max(scale.rows)
    lengths = LENGTHS if device != "cpu" else (40, 20)
    decoder = DECODERS[cuda_model.fastest(made)](made, most + 1, max(lengths) + 1, recording.begin)
    for length in lengths:
        prompt = cuda_model.some_tokens("all", length - 1, int(scale.config["vocab_size"]))
        for _ in range(most):
            decoder.join(prompt, max(lengths) - length + 1)
        decoder.prefill()
        for rows in range(most, 0, -1):
            if rows % 16 == 0 or (rows < 64 and rows % 8 == 0) or rows in (4, 2, 1):
                decoder.decode([1] * rows)
            decoder.evict(rows - 1)
    seconds = sum(recording.seconds)
    return {"all_shapes_s": round(seconds, 3), "graphs": len(recording.seconds), "longest_s": max(recording.seconds)}


@torch.inference_mode()
def floor(model: Any, rows: int, scale: Scale) -> Found:
    """Every linear layer once, as one CUDA graph on a GPU, and nothing else."""
    device = model.device.type
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {m.in_features: torch.randn(rows, m.in_features, device=model.device, dtype=model.dtype) for m in linears}

    def work() -> None:
        for linear in linears:
            linear(inputs[linear.in_features])

    step_s = timed(Recording(device).begin()(work), scale.steps, device)
    return {"tokens_per_s": round(rows / step_s, 1), "step_ms": round(1000 * step_s, 3)}


@torch.inference_mode()
def generate(model: Any, scale: Scale) -> Found:
    """transformers' `generate` over one batch of equal lengths, with the prefill in its time."""
    rows = scale.rows[1]
    ids = torch.tensor([cuda_model.history(row, scale, scale.prompt)[0] for row in range(rows)], device=model.device)
    began = time.perf_counter()
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=0.25, top_k=40, top_p=0.9,
        repetition_penalty=1.1, max_new_tokens=GENERATED, pad_token_id=0,
    )  # fmt: skip
    tokens = output[:, scale.prompt :].numel()
    return {"tokens_per_s": round(tokens / (time.perf_counter() - began), 1), "tokens": tokens}


def vllm(scale: Scale, ours: Sequence[float]) -> Found:
    """vLLM with random weights of the same shape, over the requests that our engine answered."""
    from transformers import LlamaConfig
    from vllm import LLM

    from benchmarks import vllm_child

    with tempfile.TemporaryDirectory() as folder:
        LlamaConfig(**scale.config, architectures=["LlamaForCausalLM"], dtype="bfloat16").save_pretrained(folder)
        made = LLM(
            model=folder, load_format="dummy", dtype="bfloat16", skip_tokenizer_init=True, max_model_len=1024,
            max_num_seqs=max(scale.rows), enable_prefix_caching=True,
        )  # fmt: skip
        prompts = [cuda_model.history(row, scale, scale.prompt)[0] for row in range(max(scale.rows))]
        sampling: Mapping[str, Any] = {
            "temperature": 0.25, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1,
            "max_tokens": cuda_engine.NEW_TOKENS,
        }  # fmt: skip
        vllm_child.generate(made, prompts[:4], range(4), {**sampling, "max_tokens": 4})
        answer = vllm_child.generate(made, prompts, range(len(prompts)), dict(sampling))
    speed = sum(map(len, answer["replies"])) / answer["seconds"]
    return {"tokens_per_s": round(speed, 1), "ours_over_it": round(ours[0] / speed, 2) if ours else None}
