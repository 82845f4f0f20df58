"""Formats a Status as one line of text that fits a width. Draws nothing."""

from swarmeval.records import Status

MOST_STEP_CHARS = 60


def line(status: Status, elapsed_s: float) -> str:
    """A log line with all known fields."""
    texts = "".join(f"  {text}" for text, _ in _fields(status))
    return f"[{hms(elapsed_s)}] {status.phase} {done(status)}/{status.total_jobs} jobs{texts}"


def details(status: Status, width: int) -> str:
    """The text beside a bar: the count, then the most useful fields that fit into `width` columns."""
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
    """Number of jobs finished in the current phase."""
    return status.judged + status.failures if status.phase == "judging" else status.done_jobs


def hms(seconds: float) -> str:
    """A duration as hours:minutes:seconds."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"


def failures(status: Status) -> str:
    """The number of jobs without a completion, in words."""
    return f"{status.failures} failure{'' if status.failures == 1 else 's'}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _fields(status: Status) -> list[tuple[str, int]]:
    """(field, rank) of all known values in display order. Fields with a higher rank are dropped first."""
    tokens = status.tokens_per_s if status.output_tokens else None
    fields = [
        (_step(status), 0),
        (None if not status.eta_s else f"ETA {hms(status.eta_s)}", 1),
        (None if status.pass_at_1 is None else f"pass@1 {percent(status.pass_at_1)}", 2),
        (None if tokens is None else f"{tokens:.0f} tokens/s", 3),
        (_computed(status), 5),
        (f"{status.output_tokens:,} tokens" if status.output_tokens and not status.done_jobs else None, 4),
        (None if not status.done_jobs or status.jobs_per_s is None else f"{_rate(status.jobs_per_s)} jobs/s", 7),
        (failures(status), 1 if status.failures else 6),
    ]
    return [(text, rank) for text, rank in fields if text is not None]


def _computed(status: Status) -> str | None:
    """The rate of computed tokens, if it is known and differs from that of delivered ones."""
    computed, delivered = status.computed_tokens_per_s, status.tokens_per_s
    if computed is None or delivered is None or f"{computed:.0f}" == f"{delivered:.0f}":
        return None
    return f"{computed:.0f} computed/s"


def _step(status: Status) -> str | None:
    """The current step, if no count shows progress; else None."""
    if status.phase == "loading":
        steps = [worker.loading for worker in status.workers if worker.loading]
        return steps[0][:MOST_STEP_CHARS] if steps else None
    if status.phase == "generating" and not status.output_tokens and not status.done_jobs:
        return "waiting for the first tokens"
    return None


def _rate(per_s: float) -> str:
    return f"{per_s:.{1 if per_s >= 1 else 3}f}"
