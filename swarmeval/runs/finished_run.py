"""Reads a finished run folder for comparisons: settings, scores, tasks, profiles, and totals of its traces."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmeval.errors import DataError
from swarmeval.records import NOT_GENERATED, Outcome
from swarmeval.runs.csv_trace import number, rows
from swarmeval.runs.folder import read_manifest
from swarmeval.settings.run_config import JUDGED_BY, RunConfig
from swarmeval.settings.section import flat

# Settings and sections that affect only the folder, the screen, the monitor, the trackers and the servers.
NO_MATTER = (
    "output_dir", "verbose", "monitor", "wandb", "mlflow", "trackio", "opentelemetry", "serve", "judge_service",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EndedRun:
    """The values of one run that comparisons use."""

    folder: Path
    run_id: str
    config: dict[str, object]  # by key; dotted ("endpoint.timeout_s") in a section
    data_sha256: str
    version: str
    weights: str
    score: dict[str, Any]
    shares: dict[str, float]  # pass@1 per task
    memory_mb: float | None  # peak of the workers
    energy_wh: float | None
    made_elsewhere: bool  # whether `score` judged imported replies
    judge_python: dict[str, str]  # versions of the interpreter of executed programs and of its packages; may be empty


def read(folder: Path) -> EndedRun:
    """Read a run folder. Raises DataError if results are missing, OutputError for a broken manifest."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder}: not a run folder (no manifest.json)")
    score = _json(folder / "score.json")
    tasks = _json(folder / "task_summary.json")
    try:
        shares = {task: summary["pass@1"] for task, summary in tasks.items()}
    except (TypeError, LookupError):
        raise DataError(f"{folder / 'task_summary.json'}: contains no task results; repeat the run") from None
    unscored = [task for task, share in shares.items() if share is None]
    if unscored:
        raise DataError(f"{folder}: {len(unscored)} tasks have no verdict; finish the run first")
    replicas = manifest.get("replicas", {}).values()
    return EndedRun(
        folder=folder,
        run_id=str(manifest["run_id"]),
        config=flat(RunConfig, manifest.get("config", {})),
        data_sha256=str(manifest.get("data", {}).get("sha256")),
        version=str(manifest.get("versions", {}).get("swarmeval")),
        weights=", ".join(sorted({str(replica["weights"]) for replica in replicas})) or "none",
        score=score,
        shares=shares,
        memory_mb=max((mb for row in rows(folder / "resource_trace.csv")
                        if (mb := number(row.get("workers_rss_mb"))) is not None), default=None),
        energy_wh=score["energy"]["joules"] / 3600 if "energy" in score else energy_wh(folder, manifest),
        made_elsewhere="replies" in manifest,
        judge_python=_judge_python(manifest),
    )  # fmt: skip


def verdicts_by_profile(folder: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Map each profile to the (verdicts, passes) of its tasks. Raises DataError if there are none."""
    if read_manifest(folder) is None:
        raise DataError(f"{folder}: not a run folder (no manifest.json)")
    profiles: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        for summary in _json(folder / "agent_summary.json", list):
            if summary["name"] is not None:
                evaluation = _json(folder / f"agent_{summary['agent_id']}_evaluation.json")
                _add_verdicts(profiles.setdefault(summary["name"], {}), evaluation["tasks"])
    except (TypeError, AttributeError, LookupError):
        raise DataError(f"{folder}: the agents' files contain no results; repeat the run") from None
    if not any(profiles.values()):
        raise DataError(f"{folder}: has no profiles (agents with a name) that have verdicts; name the agents")
    return {name: counts for name, counts in profiles.items() if counts}


def _judge_python(manifest: Mapping[str, Any]) -> dict[str, str]:
    found = manifest.get("judge_python")
    return {"Python": found["version"], **found["packages"]} if found else {}


def _add_verdicts(counts: dict[str, tuple[int, int]], tasks: dict[str, list[dict[str, Any]]]) -> None:
    for task, verdicts in tasks.items():
        outcomes = [verdict["outcome"] for verdict in verdicts if verdict["outcome"] not in (None, NOT_GENERATED)]
        n, c = counts.get(task, (0, 0))
        if outcomes:
            counts[task] = (n + len(outcomes), c + outcomes.count(Outcome.PASSED))


def refusal(one: EndedRun, other: EndedRun) -> str:
    """The reason why two runs cannot be compared; empty if they can."""
    if one.data_sha256 != other.data_sha256:
        return "their tasks come from different data"
    if one.shares.keys() != other.shares.keys():
        only = sorted(one.shares.keys() ^ other.shares.keys())
        return f"their tasks differ: {len(only)} are in only one of the runs, for example {only[0]}"
    for key in JUDGED_BY:
        if one.config.get(key) != other.config.get(key):
            return f"they were judged differently: {key} is {one.config.get(key)} and {other.config.get(key)}"
    for name in sorted(one.judge_python.keys() | other.judge_python.keys()):
        versions = [run.judge_python.get(name, "missing") for run in (one, other)]
        if versions[0] != versions[1]:
            return f"they were judged differently: {name} under judge_python is {versions[0]} and {versions[1]}"
    return ""


def comparable(a: Path, b: Path) -> tuple[EndedRun, EndedRun]:
    """Read two runs. Raises DataError if a folder holds no finished run, or if they cannot be compared."""
    one, other = read(a), read(b)
    if reason := refusal(one, other):
        raise DataError(f"{one.folder} and {other.folder} cannot be compared: {reason}")
    return one, other


def differing(one: EndedRun, other: EndedRun) -> dict[str, tuple[object, object]]:
    """The settings, versions and weights that differ, without NO_MATTER.

    The generation settings of imported replies are unknown.
    """
    keys = [key for key in {**one.config, **other.config} if key.partition(".")[0] not in NO_MATTER]
    values: dict[str, tuple[object, object]] = {}
    if one.made_elsewhere or other.made_elsewhere:
        keys = [key for key in keys if key in one.config and key in other.config]
        unknown, known = "unknown (imported replies)", "as its manifest says"
        values["generation settings"] = (unknown if one.made_elsewhere else known,
                                         unknown if other.made_elsewhere else known)  # fmt: skip
    values |= {key: (one.config.get(key), other.config.get(key)) for key in keys}
    values |= {"swarmeval": (one.version, other.version), "weights": (one.weights, other.weights)}
    return {key: pair for key, pair in values.items() if pair[0] != pair[1]}


def energy_wh(folder: Path, manifest: Mapping[str, Any]) -> float | None:
    """Energy of the GPUs from a run's trace, for runs whose score lacks it: power times the time between samples.

    None if no GPU reports its power, and for runs that used no GPU.
    """
    config = manifest.get("config", {})
    if config.get("device") == "cpu" or config.get("engine") == "scripted":
        return None  # the trace covers all GPUs of the machine, including those used by other processes
    joules, last = 0.0, dict[str, float]()
    for row in rows(folder / "gpu_trace.csv"):
        now, watts, uuid = number(row.get("elapsed_s")), number(row.get("power_w")), row.get("uuid", "")
        if now is not None and watts is not None:
            joules += watts * (now - last.get(uuid, now))
            last[uuid] = now
    return joules / 3600 if last else None


def _json(path: Path, kind: type = dict) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; finish the run first, or repeat it with this version") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if not isinstance(content, kind):
        raise DataError(f"{path}: contains no results; repeat the run")
    return content
