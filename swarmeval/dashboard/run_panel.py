"""The run panels: state in one line, progress and results, and the log."""

import time
from collections.abc import Mapping, Sequence
from typing import cast

from rich.text import Text

from swarmeval.dashboard import outcome_letters
from swarmeval.dashboard.format import UNKNOWN, bar, flow, number, percent, plain, seconds, spark, wrap
from swarmeval.dashboard.view import View
from swarmeval.records import Status
from swarmeval.scores.intervals import Interval, of_shares
from swarmeval.watch.progress_text import done, failures, hms
from swarmeval.watch.status import ENDED

STATES = {"killed": "bold white on red", "failed": "bold white on red", "interrupted": "bold black on yellow"}
SCORES = ("pass@1", "pass@10", "pass@100", "total", "partial", "sharing_factor")
OVER = {*ENDED, "killed"}  # in other states, score.json comes from an earlier session
STALE_S = 10.0  # age of the last update from which the age is highlighted
SPARK_WIDTH = 8
TO_COME = "no run yet"


def state(view: View, width: int) -> list[Text]:
    """Lines with the run's id and state, the meaning of that state, and errors in reading the folder."""
    snapshot, status = view.snapshot, view.status
    word = snapshot.state
    line = Text(plain(snapshot.run_id))
    line.append("  " if snapshot.run_id else "")
    line.append(f" {plain(word)} " if word in STATES else plain(word), STATES.get(word, "bold green"))
    if status is not None:
        age_s = max(0.0, snapshot.read_at - status.updated_at)
        ended = word in ENDED
        when = _clock(status.updated_at) if ended else f"{age_s:.0f} s ago"
        line.append(f"  PID {status.pid}  {'ended at' if ended else 'updated'} ")
        line.append(when, "yellow" if age_s > STALE_S and not ended else "")
    model = plain(str((view.manifest.get("config") or {}).get("model_id", "")))
    if model and width > len(line.plain) + len(model) + 2:
        line.append(f"  {model}", "dim")
    faults = (part for fault in snapshot.trouble for part in wrap(fault, width, "red"))
    return [line, *_explained(view, width), *faults]


def _clock(at: float) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError):  # not a valid time
        return UNKNOWN


def _explained(view: View, width: int) -> list[Text]:
    """The meaning of the state and what to do about it, if that is not obvious."""
    status, word = view.status, view.snapshot.state
    lines: list[Text] = []
    if word == TO_COME:
        lines += wrap(f"{view.snapshot.folder} contains no run yet; a run will appear here when it starts", width)
    if word == "killed" and status is not None:
        gone = f"Coordinator not running (PID {status.pid}). Repeat the command to resume."
        lines.append(Text(gone, "bold red"))
    elif word == "interrupted":
        lines.append(Text("Stopped before the end. Repeat the command to resume.", "yellow"))
    if status is not None and status.message and status.message != "finished":
        lines += wrap(status.message, width, "yellow")
    return lines


def application(view: View, width: int) -> list[Text]:
    """Lines with progress, rates, latencies, pass@1 with its interval, outcomes and, after the run, the score."""
    status = view.status
    if status is None:
        return [Text("No answers yet")]
    return [
        _progress(status, width),
        *flow(_rates(view, status), width),
        *flow(_latencies(view), width),
        *flow(_pass_at_1(view, status), width),
        *flow(outcome_letters.legend(status.outcomes) or ["none yet"], width, "outcomes"),
        *(_score(view.snapshot.score, width) if view.snapshot.state in OVER else ()),
    ]


def _progress(status: Status, width: int) -> Text:
    share = done(status) / max(1, status.total_jobs)
    eta = UNKNOWN if status.eta_s is None else hms(status.eta_s)
    words = f" {done(status)}/{status.total_jobs} jobs ({share:.1%})  eta {eta}"
    return Text.assemble(bar(share, max(4, width - len(words)), "green"), words)


def _rates(view: View, status: Status) -> list[Text]:
    parts = []
    for shown, column in (
        (f"{number(status.jobs_per_s, 1)} jobs/s", "jobs_per_s"),
        (f"{number(status.tokens_per_s)} tokens/s", "tokens_per_s"),
        (f"{number(status.computed_tokens_per_s)} computed/s", "computed_tokens_per_s"),
    ):
        if column == "computed_tokens_per_s" and status.computed_tokens is None:
            continue
        part, history = Text(shown), view.history(column)
        if any(value is not None for value in history):
            part.append(f" {spark(history, SPARK_WIDTH)}", "cyan")
        parts.append(part)
    in_flight = sum(worker.in_flight for worker in status.workers)
    return [*parts, Text(f"elapsed {hms(status.elapsed_s)}"), Text(f"{in_flight} in flight")]


def _latencies(view: View) -> list[str]:
    tally = view.tally
    latency, ttft = tally.latency.percentile, tally.ttft.percentile
    parts = [f"latency p50 {seconds(latency(0.5))}  p95 {seconds(latency(0.95))}  p99 {seconds(latency(0.99))}"]
    parts.append(f"TTFT p50 {seconds(ttft(0.5))}  p95 {seconds(ttft(0.95))}")
    if tally.read < tally.size and tally.size:
        parts.append(f"(journal read to {tally.read / tally.size:.0%})")
    if tally.unreadable:
        parts.append(f"({tally.unreadable} unreadable journal lines)")
    return parts


def _pass_at_1(view: View, status: Status) -> list[Text]:
    interval = interval_of(view)
    around = "" if interval is None else f" (95 % CI {100 * interval[0]:.1f}-{100 * interval[1]:.1f} %)"
    failed = Text(failures(status), "bold yellow" if status.failures else "")
    judged = f"{status.passed} of {status.judged} judged passed"
    return [Text.assemble((f"pass@1 {percent(status.pass_at_1)}", "bold"), around), Text(judged), failed]


def interval_of(view: View) -> Interval | None:
    """The interval of pass@1: over the tasks judged so far, or from score.json once the run has ended."""
    score = view.snapshot.score
    if score is not None and view.snapshot.state == "done":
        intervals = score.get("intervals")
        bounds = intervals.get("pass@1") if isinstance(intervals, Mapping) else None
        if isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(end, int | float) for end in bounds):
            return cast(float, bounds[0]), cast(float, bounds[1])
    counts: Sequence[tuple[int, int]] = view.tally.grid.counts()
    return of_shares(counts) if counts else None


def _score(score: dict[str, object] | None, width: int) -> list[Text]:
    if score is None:
        return []
    parts = [Text(f"{name} {plain(_shown(score[name]))}") for name in SCORES if name in score]
    energy = score.get("energy")
    if isinstance(energy, Mapping) and isinstance(joules := energy.get("joules"), int | float):
        parts.append(Text(f"energy {joules:,.0f} J"))
    return flow(parts, width, "score")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else UNKNOWN if value is None else str(value)


def log_lines(view: View, width: int) -> list[Text]:
    """The last events of workers and memory, then the end of run.log."""
    lines = [*view.snapshot.events[-2:], *view.snapshot.log] if view.snapshot.events else [*view.snapshot.log]
    if not lines:
        return [Text("No log lines yet")]
    return [Text(plain(line.expandtabs(4)), _log_style(line)) for line in lines]


def _log_style(line: str) -> str:
    return "red" if " ERROR " in line else "yellow" if " WARNING " in line else ""
