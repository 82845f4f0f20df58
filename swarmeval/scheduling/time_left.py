"""The time that generation still needs, estimated from tokens instead of from finished jobs.

With hundreds of rows decoding side by side the first job ends late, and the jobs per second so far say nothing.
"""

import math


def seconds_left(
    waiting: int, decoding: int, finished: int, finished_tokens: int, open_tokens: int, most: int, tokens_per_s: float
) -> float | None:
    """Seconds until `waiting` and `decoding` jobs are answered; None without a speed.

    `open_tokens` were decoded for the jobs that go on, `finished_tokens` for the `finished` ones; `most` is
    max_new_tokens. The mean length of an answer is the maximum likelihood estimate for exponential lengths of which
    some are censored (Lawless, Statistical Models and Methods for Lifetime Data, section 3.2): all tokens by finished
    jobs. A job that goes on ends at that rate, but within `most` tokens. Until one has finished, the estimate is an
    upper bound.
    """
    if tokens_per_s <= 0:
        return None
    mean = (finished_tokens + open_tokens) / finished if finished else math.inf
    room = max(0.0, most - open_tokens / decoding) if decoding else 0.0
    rest = room / (1 + room / mean) if mean else 0.0  # of one that goes on
    return (waiting * min(mean, most) + decoding * rest) / tokens_per_s
