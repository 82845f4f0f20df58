"""`python main.py union DIR [NAME ...]`: what any union of a run's profiles finds."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from swarmeval.commands.output import say
from swarmeval.errors import DataError
from swarmeval.runs.finished_run import verdicts_by_profile
from swarmeval.scores.profiles import profile_score
from swarmeval.scores.stats import KS
from swarmeval.scores.unions import Counts, union


def show_union(options: argparse.Namespace) -> int:
    """Print the scores of the profiles asked for, all where none is, and of their union; gives 0. Raises DataError."""
    folder = Path(options.folder)
    by_profile = verdicts_by_profile(folder)
    names = list(dict.fromkeys(options.names or by_profile))
    for name in names:
        if name not in by_profile:
            raise DataError(f"{folder}: has no profile {name!r}; it has {', '.join(by_profile)}")
    if len(names) < 2:
        raise DataError(f"{folder}: a union is of two profiles or more; it has {', '.join(by_profile)}")
    say("\n".join(lines({name: by_profile[name] for name in names})))
    return 0


def lines(members: Mapping[str, Counts]) -> Iterator[str]:
    together = union(list(members.values()))
    width = max(len(name) for name in (*members, "an answer of each"))
    yield f"{'':{width}}{'pass@1 (95 %, over tasks)':>28}{'pass@10':>10}{'pass@100':>10}"
    for name, counts in members.items():
        score = profile_score(counts)
        yield f"{name:{width}}{_rate(score, 'pass@1'):>28}{_ks(score)}"
    yield f"{'an answer of each':{width}}{_rate(together, 'pass@1_each'):>28}"
    yield f"{'all their answers':{width}}{_percent(together['pass@1']):>28}{_ks(together)}"
    yield f"an answer of each: at least one passes; tasks that every profile has a verdict on: {together['tasks']}"


def _rate(score: Mapping[str, object], key: str) -> str:
    interval = score[f"{key}_interval"]
    around = f" ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})" if isinstance(interval, list) else ""
    return _percent(score[key]) + around


def _ks(score: Mapping[str, object]) -> str:
    return "".join(f"{_percent(score[f'pass@{k}']):>10}" for k in KS[1:])


def _percent(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, float) else "-"
