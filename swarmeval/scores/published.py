"""Published pass@1 of well-known models, for comparison with a run. Read from published.json, never the network.

The table contains only what a source states. A missing setting, or mode null, means that the source does not say.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("published.json")


@dataclass(frozen=True, slots=True)
class Published:
    """One published score."""

    model: str  # the model's name on the Hugging Face hub
    benchmark: str
    pass_at_1: float
    mode: str | None  # chat or completion
    settings: Mapping[str, object]  # keys of RunConfig
    harness: str  # the program or people that measured it
    source: str


def published(model_id: str, benchmark: str) -> tuple[Published, ...]:
    """The published scores of a model, in table order; empty if the table does not list the model.

    Names match regardless of case, with or without the owner, and under later names on the hub. A model of the same
    name by a different owner does not match.
    """
    name = model_id.lower()
    return tuple(entry for entry in entries() if entry.benchmark == benchmark and name in _names(entry.model))


def compare_with(
    entry: Published, pass_at_1: float, interval: tuple[float, float], config: Mapping[str, object], mode: str
) -> dict[str, Any]:
    """Compare a run with a published score.

    `difference` is the run's score minus the published one, `within_interval` whether the published score lies in the
    run's interval, `differs` the settings that the source states differently, as {key: [ours, theirs]}.
    """
    low, high = interval
    theirs: dict[str, object] = {**entry.settings} if entry.mode is None else {"mode": entry.mode, **entry.settings}
    ours = {**config, "mode": mode}
    if (weights := config.get("weights")) is not None:
        ours["load_in_4bit"] = {"nf4": True, "bf16": False, "fp16": False, "fp32": False}.get(str(weights), weights)
    if config.get("fleet") == "endpoint":
        ours["load_in_4bit"] = "unknown"  # decided by the server
    return {
        "pass@1": entry.pass_at_1,
        "harness": entry.harness,
        "source": entry.source,
        "difference": pass_at_1 - entry.pass_at_1,
        "within_interval": low <= entry.pass_at_1 <= high,
        "differs": {key: [ours.get(key), value] for key, value in theirs.items() if ours.get(key) != value},
    }


@cache
def entries() -> tuple[Published, ...]:
    """The whole table."""
    return tuple(
        Published(
            model=row["model"],
            benchmark=row["benchmark"],
            pass_at_1=row["pass@1"],
            mode=row["mode"],
            settings=row["settings"],
            harness=row["harness"],
            source=row["source"],
        )
        for row in _table()["entries"]
    )


@cache
def _table() -> Any:
    return json.loads(TABLE.read_text(encoding="utf-8"))


@cache
def _names(model: str) -> frozenset[str]:
    """All names of a model in the table, in lower case: its names on the hub, with and without the owner."""
    full = {model, *(name for names in _table()["aliases"] if model in names for name in names)}
    return frozenset(form.lower() for name in full for form in (name, name.rpartition("/")[2]))
