"""Judges prefixes of replies after a run: what each reply would be worth if a shorter limit on tokens had cut it."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from msgspec import structs

from swarmeval.records import Completion, Outcome
from swarmeval.runs.journal import PrefixVerdicts
from swarmeval.runs.ledger import Jobs
from swarmeval.runs.prefixes import PrefixStore
from swarmeval.runs.results import Results
from swarmeval.scheduling.judge_queue import JUDGES_PER_WORKER, JudgeCall

Cuts = list[tuple[int, str]]  # (tokens, the reply's text up to there)


async def judge_prefixes(
    journal: Path,
    jobs: Jobs,
    store: PrefixStore,
    judge: JudgeCall,
    workers: int,
    is_draining: Callable[[], bool],
    on_task: Callable[[str], None] = lambda task_id: None,
) -> bool:
    """Judge the prefixes of all first answers that have marks, task by task; False if drained before the end.

    A prefix that several replies to a task begin with is judged once. Work that the store holds is not repeated.
    """
    room = asyncio.Semaphore(JUDGES_PER_WORKER * workers)
    answers = Results(jobs, journal).each(iter(range(jobs.total)))  # a plan keeps the answers to a task together
    for task_id, group in groupby(answers, key=lambda answered: answered[0].task_id):
        if is_draining():
            return False
        on_task(task_id)
        outcomes: dict[str, Outcome] = {}  # by text
        wanted: dict[str, Completion] = {}
        replies: list[tuple[str, Cuts]] = []
        for _, answer, verdict in group:
            if isinstance(answer, Completion) and verdict is not None:
                outcomes[answer.reply] = verdict.outcome
                if answer.marks and not store.is_done(answer.job_id):
                    replies.append((answer.job_id, cuts := list(_cuts(answer))))
                    wanted |= {text: structs.replace(answer, reply=text, reasoning="", marks=()) for _, text in cuts}
        new = [completion for text, completion in wanted.items() if text not in outcomes]
        found = await asyncio.gather(*(_judged(completion, judge, room) for completion in new))
        outcomes |= {completion.reply: outcome for completion, outcome in zip(new, found, strict=True)}
        for job_id, cuts in replies:
            store.keep(PrefixVerdicts(job_id, tuple((tokens, outcomes[text]) for tokens, text in cuts)))
    return True


def _cuts(answer: Completion) -> Iterator[tuple[int, str]]:
    """The prefixes at powers of 2, of which every budget below the reply's length needs one."""
    for tokens, characters in answer.marks:
        if tokens < answer.output_tokens and tokens & (tokens - 1) == 0:
            yield tokens, answer.reply[:characters]


async def _judged(completion: Completion, judge: JudgeCall, room: asyncio.Semaphore) -> Outcome:
    async with room:
        verdict = await judge(completion, True)
        if verdict.ran_out:
            verdict = await judge(completion, False)
        return verdict.outcome
