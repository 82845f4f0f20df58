"""Mutated inputs for as long as there is time, from samples of the real thing; what failed can be repeated.

`SWARMEVAL_FUZZ_S` is how long each target runs, 60 s unless set; `SWARMEVAL_FUZZ_SEED` repeats a run.
"""

import os
import random
import sys
import time
from collections.abc import Callable, Sequence

BUDGET_S = float(os.environ.get("SWARMEVAL_FUZZ_S", "60"))
BRIEF_S = 0.1  # of the targets that also run with the fast tests
CASE_S = 1.0  # that one input may take to compute; none of them is long
LONGEST = 1 << 15  # bytes of an input
ALL_BYTES = bytes(range(256))


def fuzz(check: Callable[[bytes], None], corpus: Sequence[bytes], words: Sequence[bytes], budget_s: float) -> None:
    """Check mutated samples until the time is over. A failure names the seed, and the input that did it."""
    seed = int(os.environ.get("SWARMEVAL_FUZZ_SEED", "0")) or random.SystemRandom().getrandbits(31)
    chance = random.Random(seed)
    end, number = time.monotonic() + budget_s, 0
    while time.monotonic() < end:
        data = corpus[number] if number < len(corpus) else mutated(chance, corpus, words)
        try:
            # Once more if it was slow: collecting the garbage of all tests before can fall into any check.
            took_s = _took_s(check, data)
            took_s = took_s if took_s < CASE_S else _took_s(check, data)
            assert took_s < CASE_S, f"it took {took_s:.1f} s, twice"
        except BaseException:
            sys.stdout.write(f"SWARMEVAL_FUZZ_SEED={seed}, input {number}: {data!r}\n")
            raise
        number += 1
    sys.stdout.write(f"{number} inputs, seed {seed}\n")


def _took_s(check: Callable[[bytes], None], data: bytes) -> float:
    began = time.thread_time()
    check(data)
    return time.thread_time() - began


def mutated(chance: random.Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A sample with one to six changes."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 6)):
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice((0, 1, 2, 8, 64, 512)))
        match chance.randrange(7):
            case 0:
                data[start:end] = b""
            case 1:
                data[start:start] = chance.choice(words)
            case 2:
                data[start:end] = chance.choice(words)
            case 3:
                data[start:start] = data[start:end] * chance.choice((1, 2, 50))
            case 4:
                data[start:end] = bytes(chance.choices(ALL_BYTES, k=end - start))
            case 5:
                other = chance.choice(corpus)
                data[start:end] = other[chance.randint(0, len(other)) :][: chance.choice((4, 64, 4096))]
            case _:
                data = data[:start] if chance.random() < 0.3 else data
    return bytes(data[:LONGEST])
