"""Results and samples as lm-evaluation-harness 0.4.13 writes them with --log_samples: OUTPUT/MODEL/results_DATE.json
and samples_TASK_DATE.jsonl.

The fields are those of its result_schema.py and of loggers/evaluation_tracker.py. The metrics carry the filter name
`swarmeval`, since replies were extracted here. What was not measured, such as tokenizer and git facts, is left out.
"""

import hashlib
import json
import math
import re
import statistics
from pathlib import Path

from swarmeval.errors import DataError
from swarmeval.exports.exported_run import ExportedRun, asked, program
from swarmeval.exports.published_datasets import published
from swarmeval.files import make_folder, replaced
from swarmeval.records import Completion, Task
from swarmeval.scores.stats import pass_at_k

FILTER = "swarmeval"
GENERATION = {
    "max_gen_toks": "max_new_tokens", "do_sample": "do_sample", "temperature": "temperature", "top_p": "top_p",
    "top_k": "top_k",
}  # fmt: skip


def write(run: ExportedRun, folder: Path) -> tuple[Path, Path]:
    """Write both files and return their paths. Raises DataError or OutputError."""
    if not run.model:
        raise DataError(f"{run.folder}: imported replies name no model, which lm-eval's folders need; add --model NAME")
    if _folder_name(run.model) in (".", ".."):
        raise DataError(f"{run.folder}: the model is {run.model!r}, which names no folder; add --model NAME")
    place = folder / _folder_name(run.model)
    date = run.began.replace(tzinfo=None).isoformat().replace(":", "-")
    results, samples = place / f"results_{date}.json", place / f"samples_{_folder_name(run.benchmark)}_{date}.jsonl"
    tasks = run.tasks
    make_folder(place)
    hashes = hashlib.sha256()
    with replaced(samples) as file:
        for number, task in enumerate(tasks.values()):
            line = _sample(run, number, task)
            hashes.update("".join(str(line[name]) for name in ("doc_hash", "prompt_hash", "target_hash")).encode())
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    with replaced(results) as file:
        json.dump(_results(run, hashes.hexdigest()), file, indent=2, ensure_ascii=False)
    return results, samples


def _sample(run: ExportedRun, number: int, task: Task) -> dict[str, object]:
    """One document with all its answers, which lm-eval calls repeats."""
    replies, programs = [], []
    for _, answer, verdict in run.places.of_task(task.task_id):
        if isinstance(answer, Completion) and verdict is not None:
            replies.append(answer.reply)
            programs.append(program(task, verdict))
    doc = {"task_id": task.task_id, "prompt": task.prompt, "entry_point": task.entry_point}
    if task.reference:
        doc["canonical_solution"] = task.reference
    target = task.suite.text or task.reference
    metrics = _metrics(run, task.task_id)
    return {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": asked(task), "arg_1": _generation(run)}},
        "resps": [replies],
        "filtered_resps": [programs],
        "filter": FILTER,
        "metrics": list(metrics),
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(asked(task)),
        "target_hash": _hash(target),
        **metrics,
    }


def _metrics(run: ExportedRun, task_id: str) -> dict[str, float]:
    """pass@k of one task. A task that counts as unsolved has no verdicts."""
    judged, passed = run.summary[task_id]["verdicts"], run.summary[task_id]["passed"]
    return {f"pass@{k}": pass_at_k(judged, passed, k) if judged else 0.0 for k in run.defined}


def _results(run: ExportedRun, samples_hash: str) -> dict[str, object]:
    name, of_tasks = run.benchmark, [_metrics(run, task_id) for task_id in run.summary]
    metrics: dict[str, object] = {"alias": name, "sample_len": len(of_tasks)}
    for k in run.defined:
        shares = [values[f"pass@{k}"] for values in of_tasks]
        error = statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else "N/A"
        metrics |= {f"pass@{k},{FILTER}": run.score[f"pass@{k}"], f"pass@{k}_stderr,{FILTER}": error}
    higher = {f"pass@{k}": True for k in run.defined}
    dataset = published(name)
    return {
        "results": {name: metrics},
        "group_subtasks": {name: []},
        "configs": {
            name: {
                "task": name,
                **({"dataset_path": dataset.repo, "dataset_name": dataset.config} if dataset else {}),
                "output_type": "generate_until",
                "num_fewshot": 0,
                "metric_list": [{"metric": key, "aggregation": "mean", "higher_is_better": True} for key in higher],
                "filter_list": [{"name": FILTER}],
                "generation_kwargs": _generation(run),
            }
        },
        "versions": {name: run.version},
        "n-shot": {name: 0},
        "higher_is_better": {name: higher},
        "n-samples": {name: {"original": run.tasks_in_all, "effective": len(of_tasks)}},
        "config": {"model": FILTER, "model_args": {"model": run.model}},
        "date": run.began.timestamp(),
        "task_hashes": {name: samples_hash},
        "model_name": run.model,
        "model_name_sanitized": _folder_name(run.model),
    }


def _generation(run: ExportedRun) -> dict[str, object]:
    """Settings of generation that were the same for all agents; none for imported replies."""
    return {theirs: run.setting(ours) for theirs, ours in GENERATION.items() if run.setting(ours) is not None}


def _folder_name(model: str) -> str:
    """The name of a model's folder, as lm_eval.utils.sanitize_model_name makes it."""
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
