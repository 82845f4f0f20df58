"""`python main.py score FILE`: judges imported replies and samples. Needs no model and no fleet."""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path

from human_eval_runner import require_toolchains
from swarmeval.commands.extractors import side_by_side
from swarmeval.commands.gates import exit_code, gates_of
from swarmeval.commands.output import say
from swarmeval.errors import ConfigError, DataError
from swarmeval.extraction.harness_rules import ALL, Rule, rules
from swarmeval.records import Form, Job, parse_job_id
from swarmeval.runs.journal import Entry
from swarmeval.runs.reply_file import ListedJobs
from swarmeval.runs.sample_formats import BIGCODE, JSONL, SampleReader, digest, stated
from swarmeval.scores.missing import COUNTED_AS, FAIL
from swarmeval.session.run_context import SessionContext
from swarmeval.session.run_record import opened
from swarmeval.session.session import carry_out, make_report
from swarmeval.settings import loading
from swarmeval.settings.run_config import SCORE_USES, RunConfig
from swarmeval.settings.section import keys, sections
from swarmeval.tasks.catalog import LoadedBenchmark, chosen
from swarmeval.watch.logs import log_to_screen
from swarmeval.watch.progress import ProgressDisplay

FLAGS = {name: name for name in ("benchmark", "output_dir", "eval_workers", "eval_timeout")} | {
    "num_tasks": "humaneval_limit"
}
DEFAULT_FOLDER = "logs/score"
log = logging.getLogger("swarmeval")

PROGRAM_RULES = ("livecodebench",)  # extract whole programs; the other rules complete a function


def score(options: argparse.Namespace) -> int:
    """Judge a file of replies; return the exit code. Raises UserError."""
    config, gates = _settings(options), gates_of(options)
    under = rules(options.extractors)
    if under and options.missing == FAIL:
        raise ConfigError("--missing=fail: not possible with --extractors, which compares rules on tasks with replies")
    path = Path(options.replies)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: not a regular file; it is read more than once, so save the replies to a file")
    benchmark = chosen(config)
    require_toolchains(benchmark.tasks, config.judge_python)  # before anything is moved or created
    under = _fitting(under, benchmark, options.extractors == ALL)
    form = stated(path, options.format)
    reader = _reader(path, form, benchmark, config)
    jobs, forms = _listed(path, reader, benchmark, options.missing == FAIL)
    if under and "reply" not in forms:
        raise DataError("--extractors: the file contains no raw reply; completions and solutions need no extraction")
    data = {**benchmark.facts(), "tasks": len(jobs.tasks)}
    replies = {"path": str(path), "sha256": digest(path), "lines": jobs.total}
    if form != JSONL:
        replies |= {"format": form, "without_answer": len(reader.without_answer)}
    missing = {"missing_tasks": list(jobs.missing), "missing_counted_as": COUNTED_AS[options.missing]}
    measured = {**config.judged(), "data": data, "replies": replies["sha256"]}
    with (
        opened(config, jobs, measured, options.fresh, generates=False) as record,
        ProgressDisplay(jobs.total) as progress,
        log_to_screen(progress.note, config.verbose),
    ):
        record.note(data={**data, "licence": benchmark.licence or None}, replies={**replies, **missing})
        for completion in reader.completions({task.task_id for task in jobs.tasks}):
            entry = Entry(completion=completion)
            if record.ledger.add(entry):
                record.journal.append(entry)
        ending = carry_out(SessionContext(config, record, progress))
        others = ""
        if under and ending.exit_code == 0:
            others = side_by_side(config, record, under)
            make_report(record)  # again, now with the comparison
    say(f"{ending.summary}\n{others}" if others else ending.summary)
    return exit_code(ending.exit_code, gates, ending.score, record.folder, options.junit)


def _fitting(under: Mapping[str, Rule], benchmark: LoadedBenchmark, wants_all: bool) -> dict[str, Rule]:
    """The rules that suit the answers of a benchmark. Raises ConfigError if another one is requested by its name."""
    if not (under and any(task.question for task in benchmark.tasks)):
        return dict(under)
    suiting = PROGRAM_RULES if all(task.answer == "program" for task in benchmark.tasks) else ()
    found = {name: rule for name, rule in under.items() if name in suiting}
    if not found or (len(found) < len(under) and not wants_all):
        hint = f"; use {', '.join(suiting)}" if suiting else ""
        raise ConfigError(f"--extractors: the rules complete code; the prompts of {benchmark.name} are questions{hint}")
    return found


def _reader(path: Path, form: str, benchmark: LoadedBenchmark, config: RunConfig) -> SampleReader:
    """The reader of the file. Raises ConfigError if the order of the selected tasks is not that of the file."""
    if form == BIGCODE and (config.task_ids is not None or config.released is not None):
        raise ConfigError(f"{path}: bigcode's lists follow the order of all tasks; remove task_ids and released")
    some = f"{len(benchmark.tasks)} selected " if len(benchmark.tasks) < benchmark.total else ""
    when = f" released in {benchmark.released}" if config.released else ""
    whole = f"among the {some}tasks{when}; remove its line" if some or when else "in the benchmark"
    return SampleReader(path, form, benchmark.tasks, whole)


def _listed(
    path: Path, reader: SampleReader, benchmark: LoadedBenchmark, missing_fail: bool
) -> tuple[ListedJobs, set[Form]]:
    """(the jobs that the file answers, the forms of its texts).

    Raises DataError, also for a line that answers another task than the selected ones: the file and the selection
    disagree on what is scored.
    """
    forms, jobs = set[Form](), list[Job]()
    for reply in reader.completions():
        forms.add(reply.form)
        jobs.append(parse_job_id(reply.job_id))
    if reader.without_answer:
        first, number = reader.without_answer[0], len(reader.without_answer)
        log.warning("%s samples ended with an error and are not scored; the first: %s", number, first)
    if not jobs:
        raise DataError(f"{path}: contains no replies")
    try:
        return ListedJobs(benchmark.tasks, jobs, missing_fail), forms
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _settings(options: argparse.Namespace) -> RunConfig:
    values = loading.from_flags(vars(options), FLAGS)
    known = {*keys(RunConfig), *sections(RunConfig)} - {"sandbox"}  # accepted as a whole
    for key in values:
        if key in known and key not in SCORE_USES:
            raise ConfigError(f"--set {key}: score does not use it; it uses {', '.join(sorted(SCORE_USES))}")
    return loading.validate({"output_dir": DEFAULT_FOLDER, **values}, "score")
