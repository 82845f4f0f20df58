"""What a load run can be asked, and what is said of what it cannot."""

import pytest

from swarmeval.errors import ConfigError
from swarmeval.settings import loading
from swarmeval.settings.run_config import RunConfig


def config(*words: str) -> RunConfig:
    values = loading.from_flags({"set": ["device=cpu", "repetition_penalty=1.0", *words]}, {})
    return loading.validate(values, "given")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loadtest.levels=[{seconds: 3}]"], "loadtest.levels.0: a level of load has either concurrency or rate"),
        (["loadtest.levels=[{rate: 3, concurrency: 2}]"],
         "loadtest.levels.0: a level of load has either concurrency or rate"),
        (["loadtest.levels=[{concurrency: 2, most: 3}]"],
         "loadtest.levels.0: most is for a rate; with concurrency no more are in the air anyway"),
        (["loadtest.levels=[{rate: 2, seconds: 5, warmup_s: 5}]"],
         "loadtest.levels.0: warmup_s is 5 of 5 seconds, so that nothing counts"),
        (["loadtest.levels=[{rat: 2}]"], "unknown key 'loadtest.levels.0.rat'; did you mean 'rate'?"),
        (["loadtest.levels=[{rate: 0}]"], "loadtest.levels.0.rate is 0; it should be greater than 0"),
        (["loadtest.levels=[]"], "loadtest.levels is empty; name at least one"),
        (["loadtest.packages=[]"], "loadtest.packages is empty; name at least one"),
        (["loadtest.levels=[{rate: 2}, {rate: 2.0, count: 3}]"],
         "loadtest.levels has two levels of 2/s, which no file could tell apart; leave one out"),
        (["fleet=endpoint", "endpoint.urls=[http://a/v1]", "loadtest.levels=[{concurrency: 65}]"],
         "loadtest.levels asks 65 at once, endpoint.concurrency allows 64; raise it"),
    ],
)  # fmt: skip
def test_levels_that_cannot_be_meant_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config("benchmark=testgen", *words)
    assert str(caught.value).removeprefix("given: ") == said


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
    with pytest.raises(ConfigError) as caught:
        config(word)
    key = word.partition("=")[0]
    assert str(caught.value) == f"given: {key} is set but benchmark is 'humaneval'; set benchmark: testgen"


def test_what_a_load_run_does_not_heed_is_said() -> None:
    assert config("benchmark=testgen", "num_agents=3", "batch_size=2").warnings() == [
        "benchmark: testgen: no part of a load run, whatever is set here: num_agents, batch_size"
    ]
    assert not config("benchmark=testgen").warnings()
