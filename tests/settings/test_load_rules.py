"""The settings of a load run, and the errors for those it cannot use."""

import pytest

from swarmeval.errors import ConfigError
from swarmeval.settings import load_rules, loading
from swarmeval.settings.run_config import RunConfig


def config(*words: str) -> RunConfig:
    values = loading.from_flags({"set": ["device=cpu", "repetition_penalty=1.0", *words]}, {})
    return loading.validate(values, "given")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loadtest.levels=[{seconds: 3}]"],
         "loadtest.levels.0: a load level needs either concurrency or rate, not both"),
        (["loadtest.levels=[{rate: 3, concurrency: 2}]"],
         "loadtest.levels.0: a load level needs either concurrency or rate, not both"),
        (["loadtest.levels=[{concurrency: 2, most: 3}]"],
         "loadtest.levels.0: most applies to a rate only; concurrency already limits requests; remove most"),
        (["loadtest.levels=[{rate: 2, seconds: 5, warmup_s: 5}]"],
         "loadtest.levels.0: warmup_s (5) must be less than seconds (5)"),
        (["loadtest.levels=[{rat: 2}]"], "unknown key 'loadtest.levels.0.rat'; did you mean 'rate'?"),
        (["loadtest.levels=[{rate: 0}]"], "loadtest.levels.0.rate is 0; it should be greater than 0"),
        (["loadtest.levels=[]"], "loadtest.levels is empty; name at least one"),
        (["loadtest.packages=[]"], "loadtest.packages is empty; name at least one"),
        (["loadtest.levels=[{rate: 2}, {rate: 2.0, count: 3}]"],
         "loadtest.levels lists 2/s twice, and both levels would share one file; remove one"),
        (["fleet=endpoint", "endpoint.urls=[http://a/v1]", "loadtest.levels=[{concurrency: 65}]"],
         "loadtest.levels has concurrency 65 but endpoint.concurrency allows 64; raise endpoint.concurrency"),
        (["adapters={code: lora}"],
         "adapters are for scored runs and serve; a load test uses the model without one; remove adapters"),
    ],
)  # fmt: skip
def test_levels_that_cannot_be_meant_are_refused(words: list[str], said: str) -> None:
    try:
        told = list(load_rules.faults(config(*words)))[:1]
    except ConfigError as error:
        told = [str(error).removeprefix("given: ")]
    assert told == [said]


@pytest.mark.parametrize(
    "word",
    [
        "loadtest.packages=[torch]",
        "loadtest.levels=[{rate: 1}]",
        "loadtest.files_per_package=2",
        "loadtest.slo_ttft_s=1.0",
        "loadtest.combine_with_model=true",
    ],
)
def test_what_only_a_load_run_has_is_refused_elsewhere(word: str) -> None:
    key = word.partition("=")[0]
    said = f"{key} is set but this is not a load test; use python main.py loadtest, or remove it"
    assert list(load_rules.misplaced(config(word))) == [said]


def test_settings_that_a_load_run_ignores_are_reported() -> None:
    assert load_rules.ignored(config("num_agents=3", "batch_size=2", "workers.max_attempts=2")) == [
        "loadtest: ignored because they apply to scored runs only: num_agents, batch_size, workers.max_attempts"
    ]
    assert not load_rules.ignored(config("seed=3"))


def test_the_room_of_endpoints_does_not_matter_to_a_run_without_load() -> None:
    assert config("fleet=endpoint", "endpoint.urls=[http://a/v1]", "endpoint.concurrency=4").loadtest.levels


def test_the_benchmark_that_became_a_command_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigError) as caught:
        config("benchmark=testgen")
    assert str(caught.value) == "given: benchmark: testgen is now a command; run python main.py loadtest"
