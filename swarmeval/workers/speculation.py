"""Counts of speculative decoding, from vLLM's metrics or from the page /metrics of vLLM and SGLang servers."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from swarmeval.requests import Speculation

SOFTWARE = ("vllm", "sglang")  # servers with such a page, by the owner that their model list names
SAMPLE = re.compile(r"^([a-z_]+:[a-z_]+)(?:\{.*\})? (\S+)$", re.MULTILINE)
VLLM = ("vllm:spec_decode_num_drafts", "vllm:spec_decode_num_accepted_tokens", "vllm:spec_decode_num_draft_tokens")


def of_metrics(metrics: Iterable[Any]) -> Speculation | None:
    """The counts in a list of vLLM's metrics; None if the engine does not speculate."""
    sums: dict[str, float] = {}
    for metric in metrics:
        if metric.name in VLLM:
            sums[metric.name] = sums.get(metric.name, 0.0) + metric.value
    return _of_vllm(sums)


def of_page(text: str) -> Speculation | None:
    """The counts on a page in Prometheus' format; None if it has none."""
    sums: dict[str, float] = {}
    for name, value in SAMPLE.findall(text):
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number):
            sums[name.removesuffix("_total")] = sums.get(name.removesuffix("_total"), 0.0) + number
    return _of_vllm(sums) or _of_sglang(sums)


def plus(one: Speculation | None, other: Speculation | None) -> Speculation | None:
    """The sum of two counts, of which either may be missing."""
    if one is None or other is None:
        return one or other
    known = one.draft_tokens is not None and other.draft_tokens is not None
    return Speculation(
        one.verifications + other.verifications,
        one.accepted_tokens + other.accepted_tokens,
        (one.draft_tokens or 0) + (other.draft_tokens or 0) if known else None,
    )


def since(before: Speculation | None, now: Speculation | None) -> Speculation | None:
    """The counts between two readings; None if one is missing, or if the server started over in between."""
    if before is None or now is None or now.verifications < before.verifications:
        return None
    known = now.draft_tokens is not None and before.draft_tokens is not None
    return Speculation(
        now.verifications - before.verifications,
        max(0, now.accepted_tokens - before.accepted_tokens),
        (now.draft_tokens or 0) - (before.draft_tokens or 0) if known else None,
    )


def _of_vllm(sums: Mapping[str, float]) -> Speculation | None:
    if not all(name in sums for name in VLLM):
        return None
    drafts, accepted, drafted = (int(sums[name]) for name in VLLM)
    return Speculation(drafts, accepted, drafted)


def _of_sglang(sums: Mapping[str, float]) -> Speculation | None:
    """SGLang counts verifications, but neither drafted nor accepted tokens.

    A request's first token comes with its prompt, and each verification adds one token; the others were drafted.
    """
    if not {"sglang:spec_verify_calls", "sglang:spec_accept_length"} & sums.keys():
        return None
    generated, requests, verifications = (
        int(sums.get(f"sglang:{name}", 0.0)) for name in ("generation_tokens", "num_requests", "spec_verify_calls")
    )
    return Speculation(verifications, generated - requests - verifications, None)
