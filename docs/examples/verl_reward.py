"""A reward function for verl: 1.0 for a reply that passes the tests in its row's ground truth, 0.0 for all others.

verl's settings name this file: `reward.custom_reward_function.path=docs/examples/verl_reward.py`, and
`reward.custom_reward_function.name=compute_score`. Before verl 0.9 they begin with `custom_reward_function`.

A row's `reward_model.ground_truth` is JSON: `{"entry_point": "add", "tests": "assert add(1, 2) == 3"}`.
"""

import json
import os
from hashlib import sha256

from swarmeval import Judge, Suite, Task

# Starts at the first reply, also in each worker process that verl forks or spawns.
JUDGE = Judge(eval_workers=os.cpu_count() or 1, eval_timeout=5.0)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: object = None, **settings: object
) -> float:
    """The reward of one reply. verl calls this from several threads or processes at once."""
    truth = json.loads(ground_truth)
    task_id = sha256(ground_truth.encode()).hexdigest()
    verdict = JUDGE.judge(solution_str, Task(task_id, "", Suite(truth["entry_point"], truth["tests"])))
    return float(verdict.passed and not verdict.unconfirmed)
