"""Finds tests that accept trivial answers, such as functions that always return the same value.

`np.allclose([], x)` is true, and tests may compute expected values from an argument that the candidate has emptied. One
process tries all trivial answers to a task; only those that pass there are judged. Of executed tasks, only the expected
outputs are checked: a program without output must not be accepted.
"""

import asyncio
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from human_eval_runner import Judge
from swarmeval.executed import Executed
from swarmeval.records import Completion, Job, Program, Task
from swarmeval.sandbox.executed.comparison import difference
from swarmeval.sandbox.runner import Sandbox
from swarmeval.settings.run_config import RunConfig

LIMIT_S = 0.5  # CPU time per answer; most tests reject an answer at once
EMPTIED = "for one in [*a, *k.values()]: hasattr(one, 'clear') and one.clear()"
EQUAL = "an object equal to everything"
SILENCE = "no output"
# Name -> body, below "def f(*a, **k):".
VALUES = {
    "None": "return None", "[]": "return []", "()": "return ()", "{}": "return {}", '""': 'return ""', "0": "return 0",
    "1": "return 1", "True": "return True", "False": "return False", "NaN": "return float('nan')",
    "its argument": "return [*a, *k.values(), None][0]",
    "its last argument": "return [None, *a, *k.values()][-1]",
    "0, arguments emptied": f"{EMPTIED}\n    return 0",
    "None, arguments emptied": f"{EMPTIED}\n    return None",
    "its argument, emptied": f"{EMPTIED}\n    return [*a, *k.values(), None][0]",
    EQUAL: "return type('Equal', (), {'__eq__': lambda self, other: True, '__ne__': lambda self, other: False})()",
}  # fmt: skip
ANSWERS = {**VALUES, "an exception": "raise Exception('no answer')"}
# Tries all answers to a task, inside the sandbox. An answer is accepted only if the tests raise nothing at all: a
# rejection may be any exception, SystemExit or Late.
SCREEN = """
import signal

class Late(BaseException): pass

def late(*_): raise Late

def passes(answer):
    names = {{}}
    signal.setitimer(signal.ITIMER_PROF, {limit_s})
    try:
        for code in (context, answer, tests): exec(code, names)
        return "1"
    except BaseException:
        return "0"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)

signal.signal(signal.SIGPROF, late)
context, tests = (compile(text, "<tests>", "exec") for text in {texts!r})
raise RuntimeError("accepted " + "".join(map(passes, {answers!r})))
"""
ACCEPTED = re.compile(r"\ARuntimeError: accepted ([01]+)")


@dataclass(frozen=True, slots=True)
class TrivialAnswers:
    """Results of trying trivial answers."""

    accepted: dict[str, tuple[str, ...]]  # task -> names of the answers that its tests accept
    untried: tuple[str, ...]  # tasks whose tests neither accepted nor rejected an answer

    def accept_anything(self) -> list[str]:
        """The tasks whose tests accept every value."""
        return [task for task, names in self.accepted.items() if VALUES.keys() - {EQUAL} <= set(names)]


def trivial_answer(task: Task, name: str) -> str:
    """The program of a trivial answer."""
    return f"def {task.entry_point}(*a, **k):\n    {ANSWERS[name]}\n"


async def try_trivial(
    config: RunConfig, judge: Judge, tasks: Sequence[Task], unconfirmed: Collection[str] = ()
) -> TrivialAnswers:
    """Try all trivial answers on every task. `unconfirmed` tasks run in the process of their tests.

    Raises SandboxError.
    """
    silent = [task.task_id for task in tasks if task.executed is not None and accepts_silence(task.executed)]
    accepted: dict[str, tuple[str, ...]] = dict.fromkeys(silent, (SILENCE,))
    tasks = [task for task in tasks if asks_for_function(task)]
    limit_s = 2 * LIMIT_S * len(ANSWERS)
    async with Sandbox(config.eval_workers, limit_s, config.eval_memory_mb, config.sandbox.mode) as sandbox:
        screened = await asyncio.gather(*(_screen(sandbox, task, task.task_id in unconfirmed) for task in tasks))
    pairs = [(task, name) for task, names in zip(tasks, screened, strict=True) for name in names or ()]
    passed = await asyncio.gather(*(_passes(judge, task, name) for task, name in pairs))
    for (task, name), has_passed in zip(pairs, passed, strict=True):
        if has_passed:
            accepted[task.task_id] = (*accepted.get(task.task_id, ()), name)
    untried = tuple(task.task_id for task, names in zip(tasks, screened, strict=True) if names is None)
    return TrivialAnswers(accepted, untried)


def asks_for_function(task: Task) -> bool:
    """Whether the tests call a Python function, which trivial answers can replace. A gap has room for a part only."""
    return (
        task.executed is None and not task.infilling and task.answer == "function" and task.entry_point.isidentifier()
    )


def accepts_silence(executed: Executed) -> bool:
    """Whether a program that prints nothing passes all cases. A checker is not tried."""
    rule, tolerance = executed.comparison.rule, executed.comparison.tolerance
    if rule == "checker" or not executed.cases:
        return False
    return all(not difference(rule, tolerance, case.expected, "") for case in executed.cases)


async def _screen(sandbox: Sandbox, task: Task, is_beside: bool) -> list[str] | None:
    """Names of the answers that may pass; None if the tests ended the process.

    Tests in a separate process see an object that is not plain data as one that equals nothing.
    """
    programs = {name: trivial_answer(task, name) for name in ANSWERS}
    if not is_beside:
        programs[EQUAL] = f"def {task.entry_point}(*a, **k):\n    return object()\n"
    texts = (task.suite.context, task.suite.text)
    screen = SCREEN.format(limit_s=LIMIT_S, texts=texts, answers=list(programs.values()))
    match = ACCEPTED.match((await sandbox.run(Program(screen))).detail)
    return None if match is None else [name for name, bit in zip(programs, match[1], strict=True) if bit == "1"]


async def _passes(judge: Judge, task: Task, name: str) -> bool:
    completion = Completion(Job(0, task.task_id).job_id, trivial_answer(task, name), "solution")
    return (await judge.judge(completion)).passed
