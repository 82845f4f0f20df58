"""The words of the progress display: what a Status says in one line, of any width. Draws nothing."""

from swarmeval.records import Status

MOST_STEP_CHARS = 60


def line(status: Status, elapsed_s: float) -> str:
    """A line of a log: everything that is known."""
    texts = "".join(f"  {text}" for text, _ in _fields(status))
    return f"[{hms(elapsed_s)}] {status.phase} {done(status)}/{status.total_jobs} jobs{texts}"


def details(status: Status, width: int) -> str:
    """The text beside a bar: the count, then as many fields as fit into `width` columns, the most useful ones."""
    fields = _fields(status)
    text = f"{done(status)}/{status.total_jobs}"
    fitting: set[str] = set()
    used = len(text)
    for field, _ in sorted(fields, key=lambda field: field[1]):
        if used + 2 + len(field) <= width:
            fitting.add(field)
            used += 2 + len(field)
    return "  ".join([text, *(field for field, _ in fields if field in fitting)])


def done(status: Status) -> int:
    """The jobs that the current phase is done with."""
    return status.judged + status.failures if status.phase == "judging" else status.done_jobs


def hms(seconds: float) -> str:
    """A duration as hours:minutes:seconds."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"


def failures(status: Status) -> str:
    """The number of jobs that got no completion, in words."""
    return f"{status.failures} failure{'' if status.failures == 1 else 's'}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _fields(status: Status) -> list[tuple[str, int]]:
    """What is known beside the count, in the order in which it is shown, each with its rank: 0 is dropped last."""
    tokens = status.tokens_per_s if status.output_tokens else None
    fields = [
        (_step(status), 0),
        (None if not status.eta_s else f"ETA {hms(status.eta_s)}", 1),
        (None if status.pass_at_1 is None else f"pass@1 {percent(status.pass_at_1)}", 2),
        (None if tokens is None else f"{tokens:.0f} tokens/s", 3),
        (f"{status.output_tokens:,} tokens" if status.output_tokens and not status.done_jobs else None, 4),
        (None if not status.done_jobs or status.jobs_per_s is None else f"{_rate(status.jobs_per_s)} jobs/s", 6),
        (failures(status), 1 if status.failures else 5),
    ]
    return [(text, rank) for text, rank in fields if text is not None]


def _step(status: Status) -> str | None:
    """What the run is busy with, where no count shows it."""
    if status.phase == "loading":
        steps = [worker.loading for worker in status.workers if worker.loading]
        return steps[0][:MOST_STEP_CHARS] if steps else None
    if status.phase == "generating" and not status.output_tokens and not status.done_jobs:
        return "waiting for the first tokens"
    return None


def _rate(per_s: float) -> str:
    return f"{per_s:.{1 if per_s >= 1 else 3}f}"
