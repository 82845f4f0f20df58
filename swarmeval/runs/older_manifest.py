"""Reads manifests of versions that spelled settings differently, and gives their values under today's names."""

from collections.abc import Mapping
from typing import Any

from swarmeval.errors import ConfigError
from swarmeval.settings import manifest_settings, old_spelling
from swarmeval.settings.run_config import SCORE_USES, RunConfig
from swarmeval.settings.section import flat, keys

UNRECORDED = "wandb.api_key"  # never written into a manifest


def is_older(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest spells keys in an old way, or lacks keys that this version has added."""
    config = flat(RunConfig, manifest.get("config", {}))
    if not config:
        return False
    used = set(SCORE_USES if "replies" in manifest else keys(RunConfig)) - {UNRECORDED}
    return any(old_spelling.old_keys(config)) or not used <= config.keys()


def measured(manifest: Mapping[str, Any]) -> dict[str, object] | None:
    """The settings and data that affect a run's results; None if this version cannot obey the settings."""
    try:
        config = manifest_settings.read(manifest["config"])
    except ConfigError:
        return None
    others = {key: manifest[key] for key in ("judge_python", "adapters") if key in manifest}
    data = manifest.get("data")
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key != "licence"}  # it affects no result
    if "replies" in manifest:  # written by `score`
        others["replies"] = manifest["replies"].get("sha256")
        return {**config.judged(), "data": data, **others}
    return {**config.measured(), "data": data, **others}
