"""A result for the repository of a model on the Hugging Face hub: .eval_results/BENCHMARK.yaml.

The fields are those of huggingface.co/docs/hub/eval-results. The value is pass@1 in percent.
"""

from datetime import UTC, datetime
from pathlib import Path

import yaml

from swarmeval.errors import DataError
from swarmeval.exports.exported_run import ExportedRun
from swarmeval.exports.published_datasets import published
from swarmeval.files import make_folder, replaced


def write(run: ExportedRun, folder: Path) -> Path:
    """Write the file below the folder, and return its path. Raises DataError or OutputError."""
    text = yaml.safe_dump([entry(run)], sort_keys=False, allow_unicode=True, width=10_000)
    path = folder / ".eval_results" / f"{run.benchmark}.yaml"
    make_folder(path.parent)
    with replaced(path) as file:
        file.write(text)
    return path


def entry(run: ExportedRun) -> dict[str, object]:
    """The entry of one run. Raises DataError where the result would not be that of the published benchmark."""
    dataset = published(run.benchmark)
    if dataset is None:
        raise DataError(f"{run.folder}: {run.benchmark} is not a data set on huggingface.co, which a result must name")
    if not run.is_whole:
        covered = f"covers {run.score['total']} of {run.tasks_in_all} tasks"
        why = "is partial" if run.score.get("partial") else covered
        raise DataError(f"{run.folder}: the run {why}; a result in a model's repository is one of the whole benchmark")
    revision = run.manifest.get("data", {}).get("revision")
    ended = (run.manifest.get("sessions") or [{}])[-1].get("ended_at")
    return {
        "dataset": {
            "id": dataset.repo,
            "task_id": dataset.config,
            **({"revision": revision} if revision else {}),
        },
        "value": round(100 * run.score["pass@1"], 2),
        **({"date": datetime.fromtimestamp(ended, UTC).isoformat(timespec="seconds")} if ended else {}),
        "notes": _notes(run),
    }


def _notes(run: ExportedRun) -> str:
    low, high = run.score["intervals"]["pass@1"]
    mode = run.manifest.get("prompts", {}).get("prompt_mode")
    parts = [
        f"pass@1 in percent, 95 % CI {100 * low:.1f} to {100 * high:.1f}",
        f"{run.score['evaluations']} answers to {run.score['total']} tasks",
        *([f"{mode} prompts"] if mode else []),
        f"judged by Swarmeval {run.version}",
    ]
    return ", ".join(parts)
