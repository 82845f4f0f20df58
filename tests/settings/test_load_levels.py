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
        (["load=[{seconds: 3}]"], "load.0: a level of load has either concurrency or rate"),
        (["load=[{rate: 3, concurrency: 2}]"], "load.0: a level of load has either concurrency or rate"),
        (["load=[{concurrency: 2, most: 3}]"],
         "load.0: most is for a rate; with concurrency no more are in the air anyway"),
        (["load=[{rate: 2, seconds: 5, warmup_s: 5}]"],
         "load.0: warmup_s is 5 of 5 seconds, so that nothing counts"),
        (["load=[{rat: 2}]"], "unknown key 'load.0.rat'; did you mean 'rate'?"),
        (["load=[{rate: 0}]"], "load.0.rate is 0; it should be greater than 0"),
        (["load=[]"], "load is empty; name at least one"),
        (["packages=[]"], "packages is empty; name at least one"),
        (["load=[{rate: 2}, {rate: 2.0, count: 3}]"],
         "load has two levels of 2/s, which no file could tell apart; leave one out"),
        (["fleet=endpoint", "endpoints=[http://a/v1]", "load=[{concurrency: 65}]"],
         "load asks 65 at once, endpoint_concurrency allows 64; raise it"),
    ],
)  # fmt: skip
def test_levels_that_cannot_be_meant_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config("benchmark=testgen", *words)
    assert str(caught.value).removeprefix("given: ") == said


@pytest.mark.parametrize(
    "word",
    ["packages=[torch]", "load=[{rate: 1}]", "files_per_package=2", "slo_ttft_s=1.0", "combine_with_model=true"],
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
