"""Settings in the manifest format of the previous version, which had no sections."""

from swarmeval.settings import old_spelling
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.section import flat

OLD = {new: old for old, new in old_spelling.NEW.items()}


def flat_as_of_old(config: RunConfig) -> dict[str, object]:
    """The settings as the previous version wrote them into a manifest, without names of secrets."""
    values = flat(RunConfig, config.model_dump(mode="json", exclude={"wandb": {"api_key"}}))
    values |= {"endpoint.key_env": "***", "serve.key_env": "***"}
    return {OLD.get(key, key): value for key, value in values.items()} | {"batch_audit": 0}
