"""The manual's reward functions, called as TRL and verl call them, without either library."""

import asyncio
import importlib.util
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import pytest

from docs.examples import trl_reward, verl_reward
from tests.support.checkout import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # of forks, from Python 3.12 on
]

ROW = trl_reward.ROWS[0]
TRUTH = json.dumps({"entry_point": ROW["entry_point"], "tests": ROW["tests"]})
RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
REWARDS = {
    RIGHT: 1.0,
    "<think>def add(a, b): return 0</think>\n" + RIGHT: 1.0,
    "def add(a, b):\n    return a - b": 0.0,
    "": 0.0,
    "def add(a, b:": 0.0,
    "def add(a, b):\n    import os\n    os._exit(0)": 0.0,
    "import sys\nsys.exit(0)\ndef add(a, b): ...": 0.0,
    "def add(a, b):\n    class Same:\n        __eq__ = lambda self, other: True\n    return Same()": 0.0,
}
REPLIES, EXPECTED = list(REWARDS), list(REWARDS.values())


def verl_function(name: str) -> Callable[..., float]:
    """Load compute_score by its path, as verl.utils.import_utils.load_extern_object does."""
    path = ROOT / "docs/examples/verl_reward.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., float] = module.compute_score
    return found


def columns(count: int) -> dict[str, Any]:
    """The arguments that GRPOTrainer passes beside the completions: columns of the data set, and its own objects."""
    rows = {name: [ROW[name]] * count for name in ("entry_point", "tests")}
    return {**rows, "prompts": [""] * count, "completion_ids": [[1]] * count, "trainer_state": None}


def test_trl_gets_a_reward_for_every_completion() -> None:
    try:
        assert trl_reward.passes_tests(REPLIES, **columns(len(REPLIES))) == EXPECTED
        chats = [[{"role": "assistant", "content": reply}] for reply in REPLIES]
        assert trl_reward.passes_tests(chats, **columns(len(chats))) == EXPECTED
    finally:
        trl_reward.JUDGE.close()


def test_verl_gets_rewards_from_threads_of_a_running_loop() -> None:
    compute_score = verl_function("loaded_by_path")

    async def reward_loop() -> list[float]:  # as verl.experimental.reward_loop does
        loop = asyncio.get_running_loop()
        calls = [
            partial(compute_score, data_source="mine", solution_str=reply, ground_truth=TRUTH, extra_info={})
            for reply in REPLIES
        ]
        return await asyncio.gather(*(loop.run_in_executor(None, call) for call in calls))

    try:
        assert asyncio.run(reward_loop()) == EXPECTED
    finally:
        compute_score.__globals__["JUDGE"].close()


def test_verl_gets_rewards_from_forked_workers() -> None:
    call = partial(verl_reward.compute_score, "mine", ground_truth=TRUTH)
    assert call(RIGHT) == 1.0  # the judge has started before the workers are forked
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as workers:
            assert list(workers.map(call, REPLIES)) == EXPECTED
    finally:
        verl_reward.JUDGE.close()
