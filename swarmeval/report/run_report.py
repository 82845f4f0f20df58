"""report.html: the report of a run as one page that contains its replies and needs no network.

This module gathers the data. report.html.j2 lays out the page, report*.js draw the charts, and pages.py joins them.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from swarmeval.errors import DataError, OutputError, UserError
from swarmeval.files import replaced
from swarmeval.records import Task
from swarmeval.report import score as report_score
from swarmeval.report import settings_shown, words
from swarmeval.report.chart_data import budgets_chart, latencies, latency_chart, tasks_and_agents, timeline_chart
from swarmeval.report.cut_replies import cut_replies
from swarmeval.report.pages import FOLDER, render_page
from swarmeval.report.replies import by_task, pack
from swarmeval.report.task_texts import task_texts
from swarmeval.report.timeline import timeline
from swarmeval.runs.answer_index import AnswerIndex
from swarmeval.runs.finished_run import energy_wh
from swarmeval.runs.folder import Manifest, read_manifest
from swarmeval.scores.missing import with_failed
from swarmeval.scores.other_harnesses import read as read_under_rules
from swarmeval.tasks.catalog import load
from swarmeval.version import VERSION
from swarmeval.watch import status as status_file
from swarmeval.watch.outcome_letters import LETTERS

NAME = "report.html"
TRACES = ("trace.json", "flame_*.html")  # written by runs with --trace; the page links to them
TEMPLATE, STYLES = FOLDER / "report.html.j2", (FOLDER / "report.css", FOLDER / "report_tree.css")
SCRIPTS = [FOLDER / name for name in ("report.js", "charts.js", "report_charts.js")]
NOT_SHOWN = "Prompts, tests and references are not shown"
MAP = [
    FOLDER / f"report_{name}.js"
    for name in ("answers", "map", "diff", "tree", "tree_layout", "tree_picture", "agreement", "dialog")
]


def write(folder: Path, tasks: Sequence[Task] | None = None) -> Path:
    """Write the report of the run in this folder and return its path. `tasks`: the run's tasks, if already loaded.

    Raises DataError if the folder holds no run, OutputError if a file cannot be read or written.
    """
    page = render(folder, tasks)
    with replaced(folder / NAME) as file:
        file.write(page)
    return folder / NAME


def render(folder: Path, tasks: Sequence[Task] | None = None) -> str:
    """Return the HTML of the report. Raises the same errors as `write`."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder}: not a run folder (no manifest.json)")
    answers = AnswerIndex(folder, manifest.get("data", {}).get("tasks", 1))
    trouble = ""
    if tasks is None:
        tasks, trouble = _tasks(manifest)
    score, missing = report_score.read(folder, manifest, answers)
    try:
        over_time = timeline(folder, answers.timings)
        energy = score.get("energy") or {}
        joules = energy.get("joules_above_idle") or energy.get("joules") or _joules(folder, manifest)
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be read ({error.strerror})") from None
    texts, cut_tests = task_texts(tasks)
    places = by_task(answers, [task.task_id for task in tasks])
    packs, latency = pack(answers, places, texts), latencies(answers.timings)
    status, sentence = words.completeness(manifest, answers, _planned(folder))
    counts = with_failed(list(answers.counts.values()), words.failed_tasks(manifest))
    curve, costs = words.pass_curve(counts), words.costs(score, answers, joules)
    return render_page(TEMPLATE, STYLES, [*SCRIPTS, *(MAP if places else ())], {
        "title": f"{score['model_id'] or 'Imported replies'} on {score['benchmark']}{words.window(score)}",
        "run_id": manifest["run_id"], "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "version": VERSION,
        "score": score, "interval_words": words.interval_words(score), "status": status, "status_words": sentence,
        "what_ran": words.what_ran(manifest, answers), "settings": settings_shown.settings(manifest),
        "answered": answers.answered, "letters": LETTERS, "curve": curve,
        "cut": cut_replies(answers, score), "reasoning_words": words.reasoning(score),
        "outcomes": words.outcomes(answers), "published": words.others(score, manifest),
        "under_rules": words.under_rules(read_under_rules(folder)),
        "costs": costs if _has_costs(costs) else [], "joules": joules, "energy": energy,
        "shared": words.shared(score, answers), "sequential": words.sequential(score),
        "latency": latency, "events": over_time.events,
        "events_in_all": over_time.events_in_all, "series": over_time.series,
        "left_out": [text for text in (packs.portion.words(), cut_tests, _unshown(answers), trouble, missing) if text],
        "traces": [path.name for pattern in TRACES for path in sorted(folder.glob(pattern))],
        "manifest": json.dumps(manifest, indent=2, ensure_ascii=False), "packs": packs.packs,
        "agreements": [found for found in packs.agreements if found],
    }, {
        **tasks_and_agents(manifest, answers, places, tasks, packs.agreements), "cut": packs.portion.cut,
        "curve": curve,
        "intervals": {key.removeprefix("pass@"): value for key, value in score["intervals"].items() if value},
        "latency": latency_chart(latency, answers.timings), "budgets": budgets_chart(score),
        **timeline_chart(over_time),
    })  # fmt: skip


def _tasks(manifest: Manifest) -> tuple[Sequence[Task], str]:
    """(the tasks of the run, the reason if they are not available)."""
    config, data = manifest.get("config", {}), manifest.get("data", {})
    try:
        benchmark = load(str(config.get("benchmark")), config.get("benchmark_file"), config.get("released"))
    except UserError as error:
        return (), f"{NOT_SHOWN}: {error}."
    if benchmark.dataset.sha256 != data.get("sha256"):
        return (), f"{NOT_SHOWN}: the run used a different version of the data of {benchmark.name}."
    return benchmark.tasks, ""


def _has_costs(rows: Sequence[Mapping[str, str]]) -> bool:
    return any(row[key] not in ("none", "not measured") for row in rows for key in ("seconds", "tokens", "joules"))


def _planned(folder: Path) -> int | None:
    try:
        status = status_file.read(folder)
    except DataError:
        return None
    return status.total_jobs if status else None


def _joules(folder: Path, manifest: Manifest) -> float | None:
    wh = energy_wh(folder, manifest)
    return None if wh is None else 3600 * wh


def _unshown(answers: AnswerIndex) -> str:
    if not answers.not_shown:
        return ""
    return f"The map shows {len(answers.locations):,} answers; the figures include {answers.not_shown:,} more."
