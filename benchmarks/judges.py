"""Background load: a separate process that keeps judging programs. `python judges.py PROGRAMS COUNT`."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from human_eval_runner import Judge, load_tasks
from swarmeval.records import Completion, Job


@contextmanager
def judges(count: int, programs: str) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Start a judging process; yield a context manager inside which it judges `count` programs at once, repeatedly."""
    arguments = [sys.executable, __file__, programs, str(count)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pool:
        assert pool.stdin is not None
        assert pool.stdout is not None
        to_pool, from_pool = pool.stdin, pool.stdout
        from_pool.readline()

        def send(command: bytes) -> None:
            to_pool.write(command)
            to_pool.flush()

        @contextmanager
        def at_work() -> Iterator[None]:
            send(b"go\n")
            try:
                yield
            finally:
                send(b"rest\n")
                from_pool.readline()  # all programs have ended

        yield at_work
        to_pool.close()


async def judge_on(programs: str, count: int) -> None:
    """Run the judging process until standard input ends. Prints a line when it is ready."""
    os.nice(19)  # for the preparation of programs
    problems = load_tasks()
    texts = [task.reference for task in problems]
    if programs == "endless":
        texts = ["    while True:\n        pass\n"] * len(texts)
    waiting = itertools.cycle(zip(problems, texts, strict=True))

    async def judge_in_turn(judge: Judge) -> None:
        for task, text in waiting:
            await judge.judge(Completion(Job(0, task.task_id).job_id, text, "completion"), again=True)

    async with Judge(problems, count, timeout_s=10.0, memory_mb=4096, yields=True) as judge:
        print("judging", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):  # "go", or end of input
            tasks = [asyncio.create_task(judge_in_turn(judge)) for _ in range(count)]
            await asyncio.to_thread(sys.stdin.readline)  # "rest"
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            print("resting", flush=True)


if __name__ == "__main__":
    asyncio.run(judge_on(sys.argv[1], int(sys.argv[2])))
