"""Reads the settings of a run back from its manifest, including manifests of older versions."""

from collections.abc import Mapping

from swarmeval import secrets
from swarmeval.settings import loading, old_spelling
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.section import flat


def read(config: Mapping[str, object]) -> RunConfig:
    """The settings that a manifest records. Raises ConfigError if this version cannot obey them."""
    # A manifest lists every key. Keep only changed ones: some keys exclude each other, and secrets are hidden.
    defaults = flat(RunConfig, RunConfig().model_dump(mode="json"))
    values_flat = flat(RunConfig, old_spelling.renewed(config))
    values = {key: one for key, one in values_flat.items() if one != defaults.get(key) and one != secrets.HIDDEN}
    if "agents" in values:
        values.pop("num_agents", None)
    return loading.validate(values, "manifest.json")
