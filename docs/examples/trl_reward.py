"""A reward function for TRL's GRPOTrainer: 1.0 for replies that pass the tests of their row, 0.0 for all others.

`python docs/examples/trl_reward.py MODEL` trains a small model for two steps on the CPU. Needs trl and datasets.
"""

import os
import sys
from hashlib import sha256

from swarmeval import Judge, Suite, Task

ROWS = [
    {
        "prompt": "Write a Python function add(a, b) that returns the sum of a and b.",
        "entry_point": "add",
        "tests": "assert add(1, 2) == 3\nassert add(-1, 1) == 0",
    },
    {
        "prompt": "Write a Python function is_even(n) that returns whether n is even.",
        "entry_point": "is_even",
        "tests": "assert is_even(2) is True\nassert is_even(7) is False",
    },
]


# Starts at the first reply, also in each worker process that a trainer forks or spawns.
JUDGE = Judge(eval_workers=os.cpu_count() or 1, eval_timeout=5.0)


def passes_tests(
    completions: list[str] | list[list[dict[str, str]]], entry_point: list[str], tests: list[str], **columns: object
) -> list[float]:
    """The rewards of completions. `entry_point` and `tests` are columns of the data set, one value per completion."""
    replies = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
    verdicts = JUDGE.judge_all(replies, [task(*of_row) for of_row in zip(entry_point, tests, strict=True)])
    return [float(verdict.passed and not verdict.unconfirmed) for verdict in verdicts]


def task(entry_point: str, tests: str) -> Task:
    """The task of a row. Equal rows are one task."""
    return Task(sha256(f"{entry_point}\n{tests}".encode()).hexdigest(), "", Suite(entry_point, tests))


def train(model: str, folder: str = "grpo", steps: int = 2) -> None:
    """Train a model for a few steps and print the log of each."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    chats = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in ROWS]
    config = GRPOConfig(
        folder, max_steps=steps, per_device_train_batch_size=4, num_generations=4, max_completion_length=48,
        logging_steps=1, report_to="none", use_cpu=True, bf16=False, model_init_kwargs={"dtype": "float32"},
        save_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
    )  # fmt: skip
    GRPOTrainer(model, passes_tests, config, train_dataset=Dataset.from_list(chats)).train()


if __name__ == "__main__":
    train(sys.argv[1])
