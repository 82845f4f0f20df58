"""A run in the schema of Every Eval Ever, version 0.3.0 (github.com/evaleval/every_eval_ever, eval.schema.json).

Below the folder: data/BENCHMARK/DEVELOPER/MODEL/UUID.json with the scores, and UUID_samples.jsonl with the answers,
as in the project's data store. The UUID follows from the run, so that a repeated export replaces its files.
"""

import hashlib
import json
import re
import time
import uuid
from pathlib import Path, PurePosixPath
from typing import Any

from swarmeval.errors import DataError
from swarmeval.exports.eval_instances import SCHEMA, instance
from swarmeval.exports.exported_run import ExportedRun
from swarmeval.exports.published_datasets import published
from swarmeval.files import make_folder, replaced
from swarmeval.records import Completion
from swarmeval.scores.intervals import LEVEL

UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]|^\.+$')
INTERVAL = "percentile bootstrap over tasks; Wilson's where tasks have one answer each or do not differ"


def write(run: ExportedRun, folder: Path) -> tuple[Path, Path]:
    """Write both files and return their paths. Raises DataError or OutputError."""
    place, name = _place(run), _uuid(run)
    tasks, now = run.tasks, time.time()
    make_folder(folder / place)
    record = aggregate(run, now)
    samples, scores = folder / place / f"{name}_samples.jsonl", folder / place / f"{name}.json"
    total, digest = 0, hashlib.sha256()
    with replaced(samples) as file:
        for job, answer, verdict in run.answers():
            if not isinstance(answer, Completion) or verdict is None:
                continue  # the schema requires a score, which a failed job does not have
            row = instance(tasks[job.task_id], job, answer, verdict, run.ended.made_elsewhere)
            line = json.dumps(_of_run(record) | row, ensure_ascii=False) + "\n"
            file.write(line)
            digest.update(line.encode())
            total += 1
    record["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": str(place / samples.name),
        "hash_algorithm": "sha256",
        "checksum": digest.hexdigest(),
        "total_rows": total,
    }
    with replaced(scores) as file:
        json.dump(record, file, indent=2, ensure_ascii=False)
    return scores, samples


def aggregate(run: ExportedRun, now: float) -> dict[str, Any]:
    """The record of the scores. `now` is its time of creation, in Unix time."""
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{run.benchmark}/{run.model}/{now}",
        "evaluation_timestamp": str(run.began.timestamp()),
        "retrieved_timestamp": str(now),
        "source_metadata": {
            "source_name": "Swarmeval",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
            "additional_details": {"run_id": run.ended.run_id},
        },
        "eval_library": {"name": "swarmeval", "version": run.version},
        "model_info": _model(run),
        "evaluation_results": [_result(run, k) for k in run.defined],
    }


def _of_run(record: dict[str, Any]) -> dict[str, Any]:
    """The fields that join an answer to the record of the scores. An answer belongs to pass@1."""
    first = record["evaluation_results"][0]
    return {
        "schema_version": SCHEMA,
        "evaluation_id": record["evaluation_id"],
        "model_id": record["model_info"]["id"],
        "evaluation_name": first["evaluation_name"],
        "evaluation_result_id": first["evaluation_result_id"],
    }


def _place(run: ExportedRun) -> PurePosixPath:
    """The folder in the data store. Raises DataError if the model has no developer there."""
    developer, *rest = run.model.split("/")
    if not rest or not all((developer, *rest)) or ".." in (developer, *rest):
        found = f"the model is {run.model!r}" if run.model else "imported replies name no model"
        raise DataError(f"{run.folder}: {found}; its data store needs a developer: add --model DEVELOPER/NAME")
    names = (run.benchmark, developer, "_".join(rest))
    return PurePosixPath("data", *(UNSAFE.sub("_", name) for name in names))


def _uuid(run: ExportedRun) -> uuid.UUID:
    mark = f"{run.ended.run_id}/{run.manifest.get('fingerprint')}/{run.began.timestamp()}/{run.model}"
    return uuid.UUID(bytes=hashlib.sha256(mark.encode()).digest()[:16], version=4)


def _model(run: ExportedRun) -> dict[str, Any]:
    replicas = list(run.manifest.get("replicas", {}).values())
    here = not run.ended.made_elsewhere and run.ended.config.get("fleet") != "endpoint"
    engines = {str(replica["engine"]) for replica in replicas if replica.get("engine")}
    details = {
        "deployment_type": "self_deployed" if here else "unknown",
        "model_availability": "unknown",
        **({"weights": run.ended.weights} if replicas else {}),
        **({"revision": str(commit)} if (commit := run.manifest.get("model_commit")) else {}),
    }
    return {
        "name": run.model,
        "id": run.model,
        "developer": run.model.split("/")[0],
        **({"inference_engine": {"name": engines.pop()}} if here and len(engines) == 1 else {}),
        "additional_details": details,
    }


def _result(run: ExportedRun, k: int) -> dict[str, Any]:
    interval = run.score["intervals"][f"pass@{k}"]
    return {
        "evaluation_result_id": f"{run.benchmark}/pass@{k}",
        "evaluation_name": run.benchmark,
        "source_data": _source(run),
        "metric_config": {
            "metric_id": "pass_at_k",
            "metric_name": f"pass@{k}",
            "metric_kind": "pass_rate",
            "metric_unit": "proportion",
            "metric_parameters": {"k": k},
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 1.0,
        },
        "score_details": {
            "score": run.score[f"pass@{k}"],
            "details": {key: str(run.score[key]) for key in ("evaluations", "passed", "failures", "partial")},
            "uncertainty": {
                "confidence_interval": {
                    "lower": interval[0],
                    "upper": interval[1],
                    "confidence_level": LEVEL,
                    "method": INTERVAL,
                },
                "num_samples": run.score["total"],
            },
        },
        **_generation(run),
    }


def _source(run: ExportedRun) -> dict[str, Any]:
    dataset, data = published(run.benchmark), run.manifest.get("data", {})
    details = {"sha256": str(data.get("sha256")), "tasks_in_all": str(run.tasks_in_all)}
    if dataset is None:
        return {"dataset_name": run.benchmark, "source_type": "other", "additional_details": details}
    return {
        "dataset_name": run.benchmark,
        "source_type": "hf_dataset",
        "hf_repo": dataset.repo,
        "samples_number": len(run.summary),
        "sample_ids": list(run.summary),
        "additional_details": details | ({"revision": data["revision"]} if data.get("revision") else {}),
    }


def _generation(run: ExportedRun) -> dict[str, Any]:
    """Settings that were the same for all agents. Left out for imported replies, which do not tell them."""
    if run.ended.made_elsewhere:
        return {}
    sampled = run.setting("do_sample")
    names = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"} if sampled else {}
    args = {theirs: run.setting(ours) for theirs, ours in (names | {"max_tokens": "max_new_tokens"}).items()}
    more = {
        "prompt_mode": run.manifest.get("prompts", {}).get("prompt_mode"),
        "do_sample": sampled,
        "agents": len(run.manifest.get("agents", [])) or None,
        "seed": run.ended.config.get("seed"),
    }
    return {
        "generation_config": {
            "generation_args": {name: value for name, value in args.items() if value is not None},
            "additional_details": {name: str(value) for name, value in more.items() if value is not None},
        }
    }
