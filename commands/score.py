"""`python main.py score REPLIES.jsonl`: judges replies made elsewhere. Needs no model and no fleet."""

import argparse
import hashlib
from pathlib import Path

from agent_manager import Hooks
from bench import settings_file
from bench.benchmarks import chosen
from bench.errors import ConfigError, DataError
from bench.extractors import rules
from bench.journal import Entry
from bench.listed import ListedJobs
from bench.records import Attempt, Status, parse_job_id
from bench.reply_file import read_replies
from bench.settings import JUDGED_BY, RunConfig
from commands.extractors import side_by_side
from commands.open_run import OpenRun, opened
from commands.session import carry_out, make_report
from commands.summary import say
from watch import status as status_file
from watch.logs import shown
from watch.progress import Progress
from workers.protocol import ReplicaInfo, Request

FLAGS = {name: name for name in ("benchmark", "output_dir", "eval_workers", "eval_timeout")}
USED = {*FLAGS, *JUDGED_BY, "benchmark_file", "eval_timeout_scale", "sandbox", "verbose"}
DEFAULT_FOLDER = "logs/score"


def score(options: argparse.Namespace) -> int:
    """Judge a file of replies; gives the exit code. Raises UserError."""
    config = _settings(options)
    under = rules(options.extractors)
    path = Path(options.replies)
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a regular file; replies are read more than once, so save them first")
    benchmark = chosen(config)
    if under and any(task.question for task in benchmark.tasks):
        raise ConfigError(f"--extractors: the rules are for prompts to be completed; {config.benchmark} has others")
    task_ids = {task.task_id for task in benchmark.tasks}
    try:
        jobs = ListedJobs(benchmark.tasks, [parse_job_id(reply.job_id) for reply in read_replies(path, task_ids)])
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    if not jobs.total:
        raise DataError(f"{path}: holds no replies")
    data = {**benchmark.facts(), "tasks": len(jobs.tasks)}
    judged_by = config.model_dump(include={*JUDGED_BY, "eval_timeout_scale"})
    replies = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    with (
        opened(config, jobs, {**judged_by, "data": data, "replies": replies["sha256"]}, options.fresh) as record,
        Progress(jobs.total) as progress,
        shown(progress.note, config.verbose),
    ):
        record.note(data=data, replies=replies)
        for completion in read_replies(path, task_ids):
            entry = Entry(completion=completion)
            if record.ledger.add(entry):
                record.journal.append(entry)
        hooks = Hooks(request=_no_request, ready=_no_replica, publish=lambda status: _publish(record, progress, status))
        ending = carry_out(config, record, None, hooks, lambda: {"model_id": None, "benchmark": config.benchmark})
        others = ""
        if under and ending.exit_code == 0:
            others = side_by_side(config, record, under)
            make_report(record)  # once more: it shows them
    say(f"{ending.summary}\n{others}" if others else ending.summary)
    return ending.exit_code


def _settings(options: argparse.Namespace) -> RunConfig:
    values = settings_file.from_flags(vars(options), FLAGS)
    for key in values:
        if key in RunConfig.model_fields and key not in USED:
            raise ConfigError(f"--set {key}: score does not use it; it uses {', '.join(sorted(USED))}")
    return settings_file.validate({"output_dir": DEFAULT_FOLDER, **values}, "score")


def _publish(record: OpenRun, progress: Progress, status: Status) -> None:
    status_file.write(record.folder, status)
    progress.update(status)


def _no_request(k: int, repairs: Attempt | None) -> Request:
    raise AssertionError(f"score generates nothing, yet job {k} was asked for")


def _no_replica(device: str, info: ReplicaInfo) -> None:
    raise AssertionError(f"score has no fleet, yet {device} loaded {info.model}")
