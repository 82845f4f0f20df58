"""The time that generation still needs, estimated from tokens instead of from finished jobs.

With hundreds of rows decoding side by side the first job ends late, and the jobs per second so far say nothing.
"""


def seconds_left(
    waiting: int, decoding: int, finished: int, finished_tokens: int, open_tokens: int, most: int, tokens_per_s: float
) -> float | None:
    """Seconds until `waiting` and `decoding` jobs are answered; None without a speed.

    `open_tokens` were decoded for the jobs that go on, `finished_tokens` for the `finished` ones; `most` is
    max_new_tokens. The mean length of an answer is the maximum likelihood estimate for exponential lengths of which
    some are censored (Lawless, Statistical Models and Methods for Lifetime Data, section 3.2): all tokens by finished
    jobs. Until one has finished, it is `most`, and the estimate an upper bound.
    """
    if tokens_per_s <= 0:
        return None
    mean = min(most, (finished_tokens + open_tokens) / finished) if finished else most
    room = most - open_tokens / decoding if decoding else 0.0
    return (waiting * mean + decoding * max(0.0, min(mean, room))) / tokens_per_s
