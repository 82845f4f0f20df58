"""Settings in the manifest formats of earlier versions: without sections, or with other keys in them."""

from swarmeval.settings import old_spelling
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.section import flat

FLAT = {new: old for old, new in old_spelling.NEW.items() if "." not in old}
MOVED = {new: old for old, new in old_spelling.NEW.items() if "." in old}
VALUES = {new: {value: old for old, value in values.items()} for new, values in old_spelling.VALUES.items()}


def flat_as_of_old(config: RunConfig) -> dict[str, object]:
    """The settings as the first version wrote them into a manifest, without names of secrets."""
    values = flat(RunConfig, config.model_dump(mode="json", exclude={"wandb": {"api_key"}}))
    values |= {"endpoint.key_env": "***", "serve.key_env": "***"}
    return {FLAT.get(key, key): _old_value(key, value) for key, value in values.items()} | {"batch_audit": 0}


def in_sections_as_of_old(config: RunConfig) -> dict[str, object]:
    """The settings as later versions wrote them, in sections, with keys that have been renamed since."""
    written = config.model_dump(mode="json", exclude={"wandb": {"api_key"}})
    for new, old in MOVED.items():
        section, _, name = new.partition(".")
        written[section][old.partition(".")[2]] = _old_value(new, written[section].pop(name))
    return written


def _old_value(key: str, value: object) -> object:
    return VALUES.get(key, {}).get(str(value), value)
