"""`python main.py union DIR [NAME ...]`: scores profiles of a run and their union."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from swarmeval.commands.output import say
from swarmeval.errors import DataError
from swarmeval.runs.finished_run import verdicts_by_profile
from swarmeval.scores.profiles import profile_score
from swarmeval.scores.stats import KS
from swarmeval.scores.unions import Counts, union
from swarmeval.watch.progress_text import percent

EACH = "one answer per profile"


def show_union(options: argparse.Namespace) -> int:
    """Print the scores of the named profiles (default: all) and of their union; return 0. Raises DataError."""
    folder = Path(options.folder)
    by_profile = verdicts_by_profile(folder)
    names = list(dict.fromkeys(options.names or by_profile))
    for name in names:
        if name not in by_profile:
            raise DataError(f"{folder}: has no profile {name!r}; it has {', '.join(by_profile)}")
    if len(names) < 2:
        raise DataError(f"{folder}: a union needs at least two profiles; the run has {', '.join(by_profile)}")
    say("\n".join(lines({name: by_profile[name] for name in names})))
    return 0


def lines(members: Mapping[str, Counts]) -> Iterator[str]:
    together = union(list(members.values()))
    width = max(len(name) for name in (*members, EACH))
    yield f"{'':{width}}{'pass@1 (95 % CI)':>28}{'pass@10':>10}{'pass@100':>10}"
    for name, counts in members.items():
        score = profile_score(counts)
        yield f"{name:{width}}{_rate(score, 'pass@1'):>28}{_ks(score)}"
    yield f"{EACH:{width}}{_rate(together, 'pass@1_each'):>28}"
    yield f"{'all answers pooled':{width}}{_percent(together['pass@1']):>28}{_ks(together)}"
    yield f"{EACH}: at least one passes; tasks with verdicts of every profile: {together['tasks']}"


def _rate(score: Mapping[str, object], key: str) -> str:
    interval = score[f"{key}_interval"]
    around = f" ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})" if isinstance(interval, list) else ""
    return _percent(score[key]) + around


def _ks(score: Mapping[str, object]) -> str:
    return "".join(f"{_percent(score[f'pass@{k}']):>10}" for k in KS[1:])


def _percent(value: object) -> str:
    return percent(value) if isinstance(value, float) else "-"
