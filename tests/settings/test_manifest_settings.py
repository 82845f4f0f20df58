"""A run's settings are read back from its manifest, whichever version wrote it."""

from collections.abc import Callable
from typing import Any

import pytest

from swarmeval.errors import ConfigError
from swarmeval.settings import loading, manifest_settings, old_spelling
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.section import keys
from tests.support.older_settings import flat_as_of_old, in_sections_as_of_old


def as_of_today(config: RunConfig) -> dict[str, object]:
    return config.model_dump(mode="json", exclude={"wandb": {"api_key"}})


@pytest.mark.parametrize(
    "words",
    [
        [], ["device=cpu"], ["fleet=endpoint", "endpoint.urls=[http://a/v1]"], ["agents=[{name: a}]"],
        ["device=cpu", "sandbox.mode=none", "wandb.mode=offline", "replica.native_kernels=off", "audit.jobs=3"],
        ["replica.weight_cache=off", "replica.rows=3"], ["engine=hf"], ["engine=hf", "fleet=vllm"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("written", [as_of_today, flat_as_of_old, in_sections_as_of_old])
def test_the_settings_in_a_manifest_are_those_of_its_run(
    words: list[str], written: Callable[[RunConfig], dict[str, Any]]
) -> None:
    config = loading.validate(loading.parse_set(words), "-")
    found = manifest_settings.read(written(config))
    assert found.measured() == config.measured()
    assert (found.audit, found.wandb, found.endpoint) == (config.audit, config.wandb, config.endpoint)


def test_every_key_of_old_has_a_place_and_is_refused_where_people_type_it() -> None:
    assert set(old_spelling.NEW.values()) <= set(keys(RunConfig))
    for old, new in old_spelling.NEW.items():
        section, _, name = new.partition(".")
        values = old_spelling.VALUES.get(new)
        with pytest.raises(ConfigError) as caught:
            loading.validate({old: 1}, "x.yaml")
        assert str(caught.value) == (
            f"x.yaml: {old} is now {new}; in a file, write {section}: {{{name}: ...}}"
            + (", with auto for cached, off for bnb" if values else "")
        )


def test_a_renamed_key_is_refused_inside_its_section_too() -> None:
    with pytest.raises(ConfigError) as caught:
        loading.validate({"replica": {"cpu_kernel": "bnb"}}, "x.yaml")
    assert str(caught.value) == (
        "x.yaml: replica.cpu_kernel is now replica.weight_cache; in a file, write replica: {weight_cache: ...}, "
        "with auto for cached, off for bnb"
    )
