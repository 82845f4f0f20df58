"""Selects and compresses the replies that a report contains, within a size limit.

Each task has one pack, so that opening an answer decompresses a single task: JSON, compressed with zlib, in base64.
A pack contains each distinct reply and program once. The page states which texts were omitted or truncated.
"""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from swarmeval.records import Outcome
from swarmeval.report.agreement import Agreement, agreement
from swarmeval.report.task_texts import TaskTexts
from swarmeval.runs.answer_index import AnswerIndex, AnswerLocation
from swarmeval.runs.journal import JournalReader
from swarmeval.tasks.shown import shortened
from swarmeval.watch.outcome_grid import natural

PACKED_MOST = 4_400_000  # characters in all packs: keeps the page under 5 MB
RAW_MOST = 60_000_000  # uncompressed characters of the first attempt: bounds time and memory
CUTS = (8000, 4000, 2000, 1000, 500, 250)
MOST_DETAIL = 2000
MOST_THOUGHT = 20_000  # characters of a thought
ALL = 1 << 30


@dataclass(frozen=True, slots=True)
class Portion:
    """The texts to pack: per task the first passing and the first other answers, truncated to `cut` characters."""

    passing: int = ALL
    others: int = ALL
    cut: int = ALL

    def words(self) -> str:
        """A sentence on the omitted texts; "" if the portion is complete."""
        parts = []
        if self.passing < ALL:
            parts.append(_at_most(self.passing, "passing replies"))
        if self.others < ALL:
            parts.append(_at_most(self.others, "other replies"))
        if self.cut < ALL:
            parts.append(f"at most {self.cut:,} characters of each text")
        return f"To keep this page under 5 MB, it contains {', '.join(parts)}." if parts else ""


@dataclass(frozen=True, slots=True)
class Packs:
    """One pack per task, in the order of the tasks, and the portion of the texts in them.

    `agreements` has an entry per task. It is None if a pack lacks a part of a reply, or has fewer than two replies.
    """

    packs: tuple[str, ...]
    portion: Portion
    agreements: tuple[Agreement | None, ...]


def pack(
    answers: AnswerIndex,
    tasks: Mapping[str, Sequence[AnswerLocation]],
    texts: Mapping[str, TaskTexts],
    most: int = PACKED_MOST,
) -> Packs:
    """Pack the answers that `by_task` returned. Raises OutputError if the journal cannot be read."""
    raw = RAW_MOST
    portion = fitting(tasks, raw)
    while True:
        with JournalReader(answers.path) as reader:
            packed = [_packed(texts.get(task, TaskTexts()), places, portion, reader) for task, places in tasks.items()]
        size = sum(len(text) for text, _ in packed)
        if size <= most or portion.others == 0:
            return Packs(tuple(text for text, _ in packed), portion, tuple(found for _, found in packed))
        raw = int(0.95 * min(raw, _size(tasks, portion)) * most / size)
        portion = fitting(tasks, raw)


def by_task(answers: AnswerIndex, order: Iterable[str] = ()) -> dict[str, list[AnswerLocation]]:
    """Answers by task, sorted by agent, sample and round. Tasks missing from `order` follow in natural order."""
    tasks: dict[str, list[AnswerLocation]] = {}
    for place in answers.locations.values():
        tasks.setdefault(place.job.task_id, []).append(place)
    for places in tasks.values():
        places.sort(key=lambda place: (place.job.agent_id, place.job.sample, place.job.round))
    ranks = {task_id: rank for rank, task_id in enumerate(order)}
    names = sorted(tasks, key=lambda name: (ranks.get(name, len(ranks)), natural(name)))
    return {name: tasks[name] for name in names}


def fitting(tasks: Mapping[str, Sequence[AnswerLocation]], raw: int) -> Portion:
    """The largest portion within `raw` characters. Drops passing replies first, then truncates, then drops the rest."""
    portion = Portion()
    if _size(tasks, portion) <= raw:
        return portion
    portion = replace(portion, passing=_most(tasks, portion, "passing", raw))
    if _size(tasks, portion) <= raw:
        return portion
    for cut in CUTS:
        portion = replace(portion, cut=cut)
        if _size(tasks, portion) <= raw:
            return portion
    return replace(portion, others=_most(tasks, portion, "others", raw))


def _most(tasks: Mapping[str, Sequence[AnswerLocation]], portion: Portion, field: str, raw: int) -> int:
    """The largest value of `field` that keeps the portion within `raw` characters."""
    low, high = 0, max(map(len, tasks.values()), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        fits = _size(tasks, replace(portion, **{field: middle})) <= raw
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _size(tasks: Mapping[str, Sequence[AnswerLocation]], portion: Portion) -> int:
    return sum(
        min(place.size, 2 * portion.cut) + min(place.thought, portion.cut, MOST_THOUGHT)
        for places in tasks.values()
        for place, included in _included(places, portion)
        if included
    )


def _included(places: Sequence[AnswerLocation], portion: Portion) -> list[tuple[AnswerLocation, bool]]:
    rank = Counter[bool]()
    ranked = []
    for place in places:
        passed = place.outcome == Outcome.PASSED
        rank[passed] += 1
        ranked.append((place, rank[passed] <= (portion.passing if passed else portion.others)))
    return ranked


def _packed(
    task: TaskTexts, places: Sequence[AnswerLocation], portion: Portion, reader: JournalReader
) -> tuple[str, Agreement | None]:
    """The texts of one task and its answers, and how far its first answers agree.

    An answer is [tokens, latency, finish reason, detail, extraction note, reply, candidate, 1 if unconfirmed, thought],
    without the last ones if they are 0 or empty. Omitted texts are null. A text that repeats an earlier answer's is
    stored as the number of that answer: zlib's window is too small to compress distant copies.
    """
    rows: list[list[object]] = []
    replies: list[str] = []  # of the first answers
    programs: list[str] = []
    whole = True
    first_reply: dict[str, int] = {}  # reply -> number of the first answer with it
    first_candidate: dict[str, int] = {}
    first_thought: dict[str, int] = {}
    for place, included in _included(places, portion):
        entry = reader.entry(place.answer_at)
        verdict = reader.entry(place.verdict_at).verdict if place.verdict_at >= 0 else None
        if entry.failure is not None:
            rows.append([0, 0, "", shortened(entry.failure.reason, MOST_DETAIL), "", None, None])
            continue
        answer = entry.completion
        assert answer is not None  # the index only holds answered jobs
        detail, note, candidate = (verdict.detail, verdict.note, verdict.code) if verdict else ("", "", "")
        if place.job.round == 0:
            replies.append(answer.reply)
            programs.append(candidate)
            whole &= included and len(answer.reply) <= portion.cut
        texts: list[object] = [None, None, None if answer.reasoning else ""]
        if included:
            thought = shortened(answer.reasoning, MOST_THOUGHT)
            texts = [
                shortened(text, portion.cut) if (same := first.setdefault(text, len(rows))) == len(rows) else same
                for first, text in ((first_reply, answer.reply), (first_candidate, candidate), (first_thought, thought))
            ]
        row: list[object] = [answer.output_tokens, round(answer.latency_s, 3), answer.finish_reason]
        row += [shortened(detail, MOST_DETAIL), note, *texts[:2]]
        is_unconfirmed = verdict is not None and verdict.unconfirmed
        if answer.reasoning:
            row += [int(is_unconfirmed), texts[2]]
        elif is_unconfirmed:
            row.append(1)
        rows.append(row)
    pack = {
        "prompt": shortened(task.prompt, portion.cut), "source": task.source, "tests": task.tests,
        "reference": task.reference, "answers": rows,
    }  # fmt: skip
    text = json.dumps(pack, ensure_ascii=False, separators=(",", ":"))
    found = agreement(replies, programs) if whole and len(replies) > 1 else None
    return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), 9)).decode(), found


def _at_most(number: int, kind: str) -> str:
    return f"only the first {number} {kind} per task" if number else f"no {kind}"
