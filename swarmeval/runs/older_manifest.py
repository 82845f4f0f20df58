"""Reads manifests of versions that spelled settings differently, and gives their values under today's names."""

from collections.abc import Mapping
from typing import Any

from swarmeval.errors import ConfigError
from swarmeval.settings import manifest_settings, old_spelling


def is_older(manifest: Mapping[str, Any]) -> bool:
    return any(old_spelling.old_keys(manifest.get("config", {})))


def measured(manifest: Mapping[str, Any]) -> dict[str, object] | None:
    """The settings and data that affect a run's results; None if this version cannot obey the settings."""
    try:
        config = manifest_settings.read(manifest["config"])
    except ConfigError:
        return None
    if "replies" in manifest:  # written by `score`
        return {**config.judged(), "data": manifest.get("data"), "replies": manifest["replies"].get("sha256")}
    return {**config.measured(), "data": manifest.get("data")}
