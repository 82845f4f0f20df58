"""Published pass@1 of well-known models, to hold a run against. Ships as published.json; asks no network.

What a source does not say is not in the table: an entry without a setting, or with the mode null, leaves it open.
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
    """One score that somebody published."""

    model: str  # its name on the hub
    benchmark: str
    pass_at_1: float
    mode: str | None  # chat or completion
    settings: Mapping[str, object]  # keys of RunConfig
    harness: str  # what ran it, or who
    source: str


def published(model_id: str, benchmark: str) -> tuple[Published, ...]:
    """What is published of a model, in the order of the table; nothing where the table does not know it.

    Names match whatever their case, with or without the owner, and under the names that the hub gave them later.
    Another owner's model is another model.
    """
    name = model_id.lower()
    return tuple(entry for entry in entries() if entry.benchmark == benchmark and name in _names(entry.model))


def compare_with(
    entry: Published, pass_at_1: float, interval: tuple[float, float], config: Mapping[str, object], mode: str
) -> dict[str, Any]:
    """A run beside a published score: `difference` is the run over the score, `within_interval` says whether the score
    lies in the run's interval, `differs` has {key: [ours, theirs]} of the settings that the source states otherwise.
    """
    low, high = interval
    theirs: dict[str, object] = {**entry.settings} if entry.mode is None else {"mode": entry.mode, **entry.settings}
    ours = {**config, "mode": mode}
    if config.get("fleet") == "endpoint":
        ours["load_in_4bit"] = "unknown"  # the server's own
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
    """All that a model of the table is called, in small letters: its names on the hub, each without the owner too."""
    full = {model, *(name for names in _table()["aliases"] if model in names for name in names)}
    return frozenset(form.lower() for name in full for form in (name, name.rpartition("/")[2]))
