"""Reads the score for a report: from score.json if it matches the run, otherwise from the journal."""

from pathlib import Path
from typing import Any

import msgspec

from swarmeval.errors import DataError
from swarmeval.report.words import failed_tasks
from swarmeval.runs.answer_index import AnswerIndex
from swarmeval.runs.folder import Manifest
from swarmeval.scores.intervals import confidence
from swarmeval.scores.missing import with_failed
from swarmeval.scores.stats import scores

Ends = tuple[float, float]


class _Intervals(msgspec.Struct):
    one: Ends | None = msgspec.field(name="pass@1")
    ten: Ends | None = msgspec.field(name="pass@10")
    hundred: Ends | None = msgspec.field(name="pass@100")


class _Agents(msgspec.Struct):
    mean: float
    min: float
    max: float


class _Profile(msgspec.Struct):
    agents: int
    share: float = msgspec.field(name="pass@1")
    interval: Ends = msgspec.field(name="pass@1_interval")


class _Union(msgspec.Struct):
    share: float | None = msgspec.field(name="pass@1_each")
    interval: Ends | None = msgspec.field(name="pass@1_each_interval")


class _Round(msgspec.Struct):
    round: int
    jobs: int
    output_tokens: int
    outcomes: dict[str, int]
    share: float = msgspec.field(name="pass@1")
    interval: Ends = msgspec.field(name="pass@1_interval")


class _Replies(msgspec.Struct):
    base_only: int


class _Base(msgspec.Struct):
    total: int
    replies: _Replies
    share: float = msgspec.field(name="pass@1")


class _Audit(msgspec.Struct):
    jobs: int
    replies_changed: int
    verdicts_changed: int
    avg_latency_s: float | None
    tokens_per_s: float | None


class _Energy(msgspec.Struct):
    joules: float
    joules_above_idle: float | None
    source: str


class _Truncation(msgspec.Struct):
    replies: int
    cut: int
    share: float
    finished: int
    passed: float | None = msgspec.field(name="finished_pass@1")
    interval: Ends | None = msgspec.field(name="finished_pass@1_interval")
    warning: str = ""


class _Reasoning(msgspec.Struct):
    replies: int
    tokens: int | None
    mean_tokens: float | None


class _Curve(msgspec.Struct):
    unit: str
    budgets: list[float]
    low: list[float]
    high: list[float]
    ended: list[float]
    share: list[float] = msgspec.field(name="pass@1")
    basis: str = ""


class _Cost(msgspec.Struct):
    currency: str
    total: float | None


class _Score(msgspec.Struct):
    """The fields of score.json that a report reads."""

    benchmark: str | None
    model_id: str | None
    total: int
    undefined: dict[str, str]
    intervals: _Intervals
    one: float | None = msgspec.field(name="pass@1")
    ten: float | None = msgspec.field(name="pass@10")
    hundred: float | None = msgspec.field(name="pass@100")
    truncation: _Truncation | None = None
    reasoning: _Reasoning | None = None
    agents: _Agents | None = None
    profiles: dict[str, _Profile] = {}
    unions: dict[str, _Union] = {}
    rounds: list[_Round] = []
    budgets: dict[str, _Curve] = {}
    cost: _Cost | None = None
    base: _Base | None = None
    batch_audit: _Audit | None = None
    energy: _Energy | None = None
    generation_s: float | None = None
    output_tokens: int | None = None
    tokens_per_s: float | None = None
    computed_tokens: int | None = None
    computed_tokens_per_s: float | None = None
    sharing_factor: float | None = None
    unconfirmed: int | None = None


def read(folder: Path, manifest: Manifest, answers: AnswerIndex) -> tuple[dict[str, Any], str]:
    """(the fields of score.json, the reason if some are missing). Raises DataError if score.json cannot be read."""
    path = folder / "score.json"
    missing = ""
    try:
        score = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        of = score.get("run_id"), score.get("evaluations"), score.get("failures")
        if of == (manifest["run_id"], answers.evaluations, answers.failures):
            msgspec.convert(score, _Score)
            return score, ""
    except FileNotFoundError:
        pass
    except msgspec.ValidationError as error:
        missing = (
            f"score.json does not have the format of this version ({error}); the score was computed from the journal."
        )
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); fix this or move the file away") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a valid score ({error}); move the file away") from None
    counts = with_failed(list(answers.counts.values()), failed_tasks(manifest))
    values, reasons = scores(counts)
    config = manifest.get("config", {})
    return {
        **values, **confidence(counts, [])[0], "undefined": reasons, "total": sum(1 for n, _ in counts if n),
        "evaluations": answers.evaluations, "failures": answers.failures, "benchmark": config.get("benchmark"),
        "model_id": None if "replies" in manifest else config.get("model_id"),
    }, missing  # fmt: skip
