"""The text of the detail screen: prompt, reply, candidate and evidence of one answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from swarmeval.dashboard.format import number, plain, plain_lines, seconds
from swarmeval.dashboard.prompt_again import prompt
from swarmeval.records import Completion
from swarmeval.runs.journal import NAME
from swarmeval.watch.answers import AnswerRecord, answers

MOST_CHARS = 100_000  # limit for one text on the screen


@dataclass(frozen=True, slots=True)
class Detail:
    """All answers of an agent to a task, and the prompt of the one shown."""

    answers: list[AnswerRecord]
    place: int  # index of the answer shown
    prompt: str


def read(folder: Path, manifest: Mapping[str, Any], agent_id: int, task_id: str, place: int) -> Detail:
    """Read the answers from the journal, and rebuild the prompt. Slow, so call it from a thread. Raises OSError."""
    every_answer = answers(folder / NAME, agent_id, task_id)
    if not every_answer:
        return Detail([], 0, "")
    place %= len(every_answer)
    return Detail(every_answer, place, prompt(manifest, every_answer, every_answer[place]))


def sections(detail: Detail) -> list[tuple[str, Text]]:
    """(heading, text) of each part. The texts are untrusted and contain no active markup."""
    if not detail.answers:
        return [("answer", Text("Not answered yet"))]
    answer = detail.answers[detail.place]
    return [
        ("answer", Text(_facts(answer, detail.place, len(detail.answers)))),
        ("prompt", _shown(detail.prompt)),
        ("reply", _shown(_reply(answer))),
        ("candidate: the code extracted from the reply", _shown(_candidate(answer))),
        ("evidence", _shown(_evidence(answer))),
    ]


def _shown(text: str) -> Text:
    cut = f"\n... {len(text) - MOST_CHARS:,} more characters" if len(text) > MOST_CHARS else ""
    return Text(plain_lines(text[:MOST_CHARS].strip("\n")) + cut)


def _facts(answer: AnswerRecord, place: int, count: int) -> str:
    completion, job = answer.completion, answer.job
    which = f"{place + 1} of {count}" if count > 1 else "the only answer"
    parts = [f"{plain(job.job_id)} ({which}: sample {job.sample}, round {job.round})"]
    if completion is not None:
        parts.append(f"{plain(completion.device) or 'imported'}, attempt {completion.attempts}")
        parts.append(
            f"{completion.prompt_tokens} prompt + {completion.output_tokens} output tokens{_alone(completion)}"
        )
        parts.append(f"finish reason: {plain(completion.finish_reason) or 'unknown'}")
        parts.append(f"latency {seconds(completion.latency_s)}, TTFT {seconds(completion.ttft_s)}")
    return "\n".join(parts)


def _alone(completion: Completion) -> str:
    computed = completion.computed_tokens
    return "" if computed is None else f" ({computed} of them computed for this answer alone)"


def _reply(answer: AnswerRecord) -> str:
    if answer.failure is not None:
        return f"(no completion after {answer.failure.attempts} attempts: {answer.failure.reason})"
    return "(not answered yet)" if answer.completion is None else answer.completion.reply or "(empty)"


def _candidate(answer: AnswerRecord) -> str:
    if answer.verdict is None:
        return "(not judged yet)"
    return answer.verdict.code or "(no code)"


def _evidence(answer: AnswerRecord) -> str:
    verdict = answer.verdict
    if verdict is None:
        return "(not judged yet)"
    lines = [f"{verdict.outcome}: {verdict.detail}" if verdict.detail else str(verdict.outcome)]
    if verdict.note:
        lines.append(f"code found as: {verdict.note}")
    if verdict.base is not None:
        lines.append(f"base problem: {verdict.base}")
    took = f"judged in {number(verdict.judge_s, 2)} s"
    lines.append(f"{took}; an equal program had been executed" if verdict.shared else took)
    return "\n".join(lines)
