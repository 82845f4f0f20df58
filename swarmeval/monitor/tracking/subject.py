"""The data of a run that trackers receive: settings, flat scores and result files. Imports no tracker."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmeval.secrets import scrubbed
from swarmeval.settings.run_config import RunConfig

ARTIFACT_BYTES = 20_000_000  # small enough to upload at the end of a run over an ordinary connection
RESULTS = (  # most important first; files that do not fit are left out
    "score.json", "manifest.json", "report.html", "agent_summary.json", "task_summary.json", "metrics.csv",
    "agent_*_evaluation.json", "agent_*_results.jsonl",
)  # fmt: skip
MOST_VALUES = 2_000  # limit of a summary, because there may be many profiles and unions
CHANGING = ("sessions", "finished")  # entries of the manifest that a resume changes

log = logging.getLogger("swarmeval")


@dataclass(frozen=True, slots=True)
class Subject:
    """A tracked run."""

    config: RunConfig
    folder: Path
    run_id: str
    manifest: Mapping[str, object]
    environ: Mapping[str, str]  # the user's variables

    def preferred(self, key: str, variable: str) -> Any:
        """The value of a setting; None if the user's environment variable applies instead."""
        return None if variable in self.environ and not self.config.is_set(key) else self.config.at(key)

    def clean_manifest(self) -> dict[str, object]:
        """The manifest at the start of the run, without secrets."""
        return dict(scrubbed(dict(self.manifest)))

    def final_manifest(self) -> dict[str, object]:
        """The manifest on disk, without secrets; {} if a run that ended early has none."""
        with contextlib.suppress(OSError, ValueError):
            return dict(scrubbed(json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))))
        return {}


def lasting(manifest: Mapping[str, object]) -> dict[str, object]:
    """A manifest without the entries that a resume changes, for stores that keep the first value."""
    return {key: value for key, value in manifest.items() if key not in CHANGING}


def artifact_files(folder: Path, tracker: str) -> tuple[list[Path], list[str]]:
    """(result files that fit into an artifact, names of those that do not). Warns of the latter, for this tracker."""
    included: list[Path] = []
    left_out: list[str] = []
    room = ARTIFACT_BYTES
    for path in (path for pattern in RESULTS for path in sorted(folder.glob(pattern))):
        size = path.stat().st_size
        if size > room:
            left_out.append(path.name)
            continue
        room -= size
        included.append(path)
    if left_out:
        limit_mb, names = ARTIFACT_BYTES // 1_000_000, ", ".join(left_out)
        log.warning("%s: files left out of the artifact, limited to %d MB: %s", tracker, limit_mb, names)
    return included, left_out


def flat(values: Mapping[str, object]) -> dict[str, object]:
    """Flatten nested values to keys that trackers can list and plot, such as {"intervals/pass@1/low": 0.1}.

    A pair of numbers is treated as an interval. Nulls are left out.
    """
    leaves = dict(_leaves("", values))
    return dict(list(leaves.items())[:MOST_VALUES])


def numbers(values: Mapping[str, object]) -> dict[str, float]:
    """The numbers among flattened values."""
    return {name: value for name, value in flat(values).items() if isinstance(value, int | float)}


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}/{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple):
        is_interval = len(value) == 2 and all(isinstance(end, int | float) for end in value)
        for key, inner in zip(("low", "high") if is_interval else range(len(value)), value, strict=True):
            yield from _leaves(f"{name}/{key}", inner)
    elif value is not None:
        yield name, value
