"""`score --extractors ...`: scores the same replies under the extraction rules of other harnesses."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from human_eval_runner import Judge, prepared_toolchains
from swarmeval.extraction.harness_rules import OURS, Rule
from swarmeval.records import Completion, Outcome, Task, parse_job_id
from swarmeval.runs.results import Results
from swarmeval.scores.other_harnesses import NAME, OtherVerdicts, UnderRule, key_of, tasks_of, under_rule, write
from swarmeval.session.ending import user_error
from swarmeval.session.run_record import OpenRun
from swarmeval.settings.run_config import RunConfig
from swarmeval.watch.progress_text import percent

TaskProgram = tuple[str, str]  # task id, completion
Programs = dict[TaskProgram, list[tuple[str, str]]]  # -> (rule, job id) pairs that produce it

log = logging.getLogger("swarmeval")


def side_by_side(config: RunConfig, record: OpenRun, under: Mapping[str, Rule]) -> str:
    """Judge the run's raw replies under these rules, write extractors.json and return a table.

    The run is marked as unfinished until then: a repeated command resumes an interrupted comparison. At least
    one answer must be a raw reply. Raises OutputError and SandboxError.
    """
    replies: dict[str, str] = {}
    ours = set()
    for _, answer, verdict in Results(record.ledger.jobs, record.journal.path).each(
        iter(range(record.ledger.jobs.total))
    ):
        if isinstance(answer, Completion) and answer.form == "reply":
            replies[answer.job_id] = answer.reply
            if verdict is not None and verdict.passed:
                ours.add(answer.job_id)
    record.note(finished=False)
    passed = _judged(config, record, replies, under)
    rows = [under_rule(name, replies, frozenset(job_ids)) for name, job_ids in {OURS: ours, **passed}.items()]
    write(record.folder, rows)
    record.note(finished=True)
    return "\n".join(lines(rows, record.folder / NAME))


def _judged(
    config: RunConfig, record: OpenRun, replies: Mapping[str, str], under: Mapping[str, Rule]
) -> dict[str, set[str]]:
    """The passing jobs by rule."""
    tasks = {task.task_id: task for task in record.ledger.jobs.tasks}
    judge = Judge(
        tuple(tasks.values()),
        config.eval_workers,
        config.eval_timeout,
        config.eval_memory_mb,
        mode=config.sandbox.mode,
        toolchains=prepared_toolchains(tasks.values(), config.judge_python),
    )
    judge.scale_timeout(record.manifest["eval_timeout_scale"])  # as for the run's own verdicts
    passed: dict[str, set[str]] = {name: set() for name in under}
    try:
        with OtherVerdicts(record.folder) as known:
            programs = programs_of(tasks, replies, under)
            asyncio.run(judge_all(judge, config.eval_workers, programs, known))
    except KeyboardInterrupt:
        log.warning("Stopped. Repeat the command to resume.")
        raise
    except BaseExceptionGroup as group:
        raise user_error(group) from None
    for program, makers in programs.items():
        if known[key_of(*program)] is Outcome.PASSED:
            for name, job_id in makers:
                passed[name].add(job_id)
    return passed


def programs_of(tasks: Mapping[str, Task], replies: Mapping[str, str], under: Mapping[str, Rule]) -> Programs:
    """The distinct programs that the rules extract from the replies."""
    programs: Programs = {}
    for job_id, text in replies.items():
        task = tasks[parse_job_id(job_id).task_id]
        for name, rule in under.items():
            programs.setdefault((task.task_id, rule(text, task)), []).append((name, job_id))
    return programs


async def judge_all(judge: Judge, workers: int, programs: Programs, known: OtherVerdicts) -> None:
    """Judge the programs without a known outcome. A program that several rules extract is judged once."""
    waiting = iter([program for program in programs if key_of(*program) not in known])
    late: list[TaskProgram] = []

    async def outcome(program: TaskProgram, again: bool = False) -> Outcome:
        _, job_id = programs[program][0]
        return (await judge.judge(Completion(job_id, program[1], "completion"), again=again)).outcome

    async def drain() -> None:
        for program in waiting:
            if (result := await outcome(program)) is Outcome.TIMED_OUT:
                late.append(program)
            else:
                known.add(key_of(*program), result)

    async with judge:
        async with asyncio.TaskGroup() as group:
            for _ in range(2 * workers):
                group.create_task(drain())
        for program in late:  # repeated one at a time, like the run's own timeouts
            known.add(key_of(*program), await outcome(program, again=True))


def lines(rows: list[UnderRule], path: Path) -> Iterator[str]:
    ours = rows[0]
    yield f"\nthe same replies under other rules ({path})"
    yield f"{'':28}{'pass@1':>9}{'passes':>8}"
    for one in rows:
        yield f"{one.name:28}{percent(one.pass_at_1):>9}{len(one.passed):>8}"
        for what, jobs in (("loses", ours.passed - one.passed), ("finds", one.passed - ours.passed)):
            if jobs:
                yield f"    {what} {len(jobs)}: {tasks_of(jobs)}"
