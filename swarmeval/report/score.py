"""The score that a report shows: score.json, where it is of this run and of this version, or what the journal tells."""

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


class _Score(msgspec.Struct):
    """What a report reads of score.json."""

    benchmark: str | None
    model_id: str | None
    total: int
    undefined: dict[str, str]
    intervals: _Intervals
    one: float | None = msgspec.field(name="pass@1")
    ten: float | None = msgspec.field(name="pass@10")
    hundred: float | None = msgspec.field(name="pass@100")
    agents: _Agents | None = None
    profiles: dict[str, _Profile] = {}
    unions: dict[str, _Union] = {}
    rounds: list[_Round] = []
    base: _Base | None = None
    batch_audit: _Audit | None = None
    energy: _Energy | None = None
    generation_s: float | None = None
    output_tokens: int | None = None
    tokens_per_s: float | None = None


def read(folder: Path, manifest: Manifest, answers: AnswerIndex) -> tuple[dict[str, Any], str]:
    """(as score.json has it, why not all of it is there). Raises DataError for a score.json that cannot be read."""
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
        missing = f"score.json is not as this version writes it ({error}): the score here is made from the journal."
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend that or move it away") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as a score ({error}); move it away") from None
    counts = with_failed(list(answers.counts.values()), failed_tasks(manifest))
    values, reasons = scores(counts)
    config = manifest.get("config", {})
    return {
        **values, **confidence(counts, [])[0], "undefined": reasons, "total": sum(1 for n, _ in counts if n),
        "evaluations": answers.evaluations, "failures": answers.failures, "benchmark": config.get("benchmark"),
        "model_id": None if "replies" in manifest else config.get("model_id"),
    }, missing  # fmt: skip
