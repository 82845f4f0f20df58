"""Estimates the remaining time of generation from tokens instead of finished jobs.

With hundreds of rows decoding in parallel, the first job finishes late, so the rate of finished jobs is useless before.
"""

import math


def seconds_left(
    waiting: int, decoding: int, finished: int, finished_tokens: int, open_tokens: int, most: int, tokens_per_s: float
) -> float | None:
    """Seconds until all `waiting` and `decoding` jobs are answered; None if the speed is unknown.

    `open_tokens` were decoded for unfinished jobs, `finished_tokens` for the `finished` ones; `most` is
    max_new_tokens. The mean length of an answer is the maximum likelihood estimate for censored exponential lengths
    (Lawless, Statistical Models and Methods for Lifetime Data, section 3.2): all tokens divided by finished jobs. An
    unfinished job ends at this rate, but within `most` tokens. Before the first job has finished, the estimate is an
    upper bound.
    """
    if tokens_per_s <= 0:
        return None
    mean = (finished_tokens + open_tokens) / finished if finished else math.inf
    room = max(0.0, most - open_tokens / decoding) if decoding else 0.0
    rest = room / (1 + room / mean) if mean else 0.0  # per unfinished job
    return (waiting * min(mean, most) + decoding * rest) / tokens_per_s
