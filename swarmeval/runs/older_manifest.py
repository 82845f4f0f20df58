"""Manifests of versions whose settings were spelled otherwise: what their runs measure, in the spelling of today."""

from collections.abc import Mapping
from typing import Any

from swarmeval.errors import ConfigError
from swarmeval.settings import manifest_settings, old_spelling


def is_older(manifest: Mapping[str, Any]) -> bool:
    return any(old_spelling.old_keys(manifest.get("config", {})))


def measured(manifest: Mapping[str, Any]) -> dict[str, object] | None:
    """Everything that decides what is measured, as `run` and `score` know it; None where it cannot be obeyed now."""
    try:
        config = manifest_settings.read(manifest["config"])
    except ConfigError:
        return None
    if "replies" in manifest:  # of `score`
        return {**config.judged(), "data": manifest.get("data"), "replies": manifest["replies"].get("sha256")}
    return {**config.measured(), "data": manifest.get("data")}
