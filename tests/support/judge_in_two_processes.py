"""Uses one judge in two processes, as trainers do: python -m tests.support.judge_in_two_processes fork|spawn.

A program of its own, because spawning leaves multiprocessing's resource tracker running until the program ends.
"""

import multiprocessing
import sys

from swarmeval import Judge, Suite, Task

ADD = Task("mine/add", "", Suite("add", "assert add(1, 2) == 3\nassert add(-1, 1) == 0"))
RIGHT, WRONG = "def add(a, b): return a + b", "def add(a, b): return a - b"


def write_outcomes(judge: Judge, who: str) -> None:
    """Module-level, so that it can be sent to another process."""
    outcomes = (str(judge.judge(text, ADD).outcome) for text in (RIGHT, WRONG))
    sys.stdout.write(f"{who}: {' '.join(outcomes)}\n")
    sys.stdout.flush()
    if who == "child":
        judge.close()


def main(method: str) -> int:
    context = multiprocessing.get_context(method)
    with Judge(eval_workers=2, eval_timeout=10.0, eval_timeout_scale=1.0) as judge:
        write_outcomes(judge, "before")
        child = context.Process(target=write_outcomes, args=(judge, "child"))  # type: ignore[attr-defined]
        child.start()
        child.join()
        write_outcomes(judge, "after")
    return int(child.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
