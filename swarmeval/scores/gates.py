"""Gates for continuous integration: the lowest scores that pass, and the gates that a score.json misses."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

METRICS = ("pass@1", "pass@10", "pass@100")
FORMAT = re.compile(r"(pass@\d+)(\.lower)?=(.+)", re.ASCII)
REGRESSION = "regression"
FAILED = 3  # exit code if a gate is missed


@dataclass(frozen=True, slots=True)
class Gate:
    """The lowest value of a metric, or of the lower end of its interval, that passes."""

    metric: str
    lower: bool
    least: float

    def __str__(self) -> str:
        return f"{self.metric}{'.lower' if self.lower else ''}={self.least:g}"


def gate(text: str) -> Gate:
    """Parse a gate, such as pass@1=0.6 or pass@1.lower=0.55. Raises ValueError with the remedy."""
    match = FORMAT.fullmatch(text)
    if match is None or match[1] not in METRICS:
        raise ValueError(f"{text!r} is not a gate; write pass@1=0.6, pass@10=0.8 or pass@1.lower=0.55")
    try:
        least = float(match[3])
    except ValueError:
        least = -1.0
    if not 0 < least <= 1:
        raise ValueError(f"{text!r}: {match[3]} is not a share; write a number above 0 and up to 1, such as 0.6")
    return Gate(match[1], match[2] is not None, least)


def missed(gates: Sequence[Gate], score: Mapping[str, Any]) -> Iterator[str]:
    """The gates that a score misses, one line each. An undefined value misses every gate."""
    for one in gates:
        interval = score.get("intervals", {}).get(one.metric)
        value = (interval[0] if interval else None) if one.lower else score.get(one.metric)
        name = f"the lower end of {one.metric}" if one.lower else one.metric
        if value is None:
            why = score.get("undefined", {}).get(one.metric, "it was not measured")
            yield f"{name} is undefined ({why}); --fail-under {one}"
        elif value < one.least:
            yield f"{name} is {value:.4g}, below {one.least:g}; --fail-under {one}"
