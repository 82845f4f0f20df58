"""The settings of adapters, and those that no fleet can obey."""

import pytest

from swarmeval.errors import ConfigError
from swarmeval.settings.loading import parse_set, validate

ENDPOINT = ["fleet=endpoint", "endpoint.urls=[http://a/v1]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["adapters={code: lora}", "agents=[{adapter: cod}]"],
         "agents names the adapter 'cod', which adapters does not list; add it there"),
        (["adapters={code: 3}"], "adapters.code is 3; it should be a valid string"),
        ([*ENDPOINT, "endpoint.dialect=llama.cpp", "adapters={code: lora}"],
         "endpoint.dialect: llama.cpp has no field that chooses an adapter by its name; remove adapters"),
    ],
)  # fmt: skip
def test_adapters_that_cannot_be_chosen_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse_set(words), "x.yaml")
    assert str(caught.value) == f"x.yaml: {message}"
