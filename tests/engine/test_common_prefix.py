"""The choice of the shared prefix: enough rows have it, and no other prefix saves more."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.engine.common_prefix import MIN_ROWS, MIN_TOKENS, Prompt, best_known, common, worth_sharing

prompts = st.lists(
    st.tuples(st.sampled_from([0, 10, 20, 40]), st.lists(st.integers(0, 1), max_size=4)).map(
        lambda made: (*range(2, 2 + made[0]), *made[1], 9)
    ),
    min_size=1,
    max_size=12,
)


@given(one=st.lists(st.integers(0, 1)).map(tuple), other=st.lists(st.integers(0, 1)).map(tuple))
def test_the_common_prefix_ends_at_the_first_difference(one: Prompt, other: Prompt) -> None:
    count = common(one, other)
    assert one[:count] == other[:count]
    assert one[count : count + 1] != other[count : count + 1] or len(one) == len(other) == count


@given(rows=prompts)
def test_no_other_shareable_prefix_saves_more(rows: list[Prompt]) -> None:
    counts, prompt = Counter(rows), rows[0]

    def saved(length: int) -> float:
        mates = sum(row[:length] == prompt[:length] for row in rows)
        return length * (1 - 1 / mates) if length >= MIN_TOKENS and mates >= MIN_ROWS else 0.0

    found = worth_sharing(prompt, counts)
    assert found is None or prompt[: len(found)] == found
    assert (saved(len(found)) if found else 0.0) == max(saved(length) for length in range(len(prompt) + 1))


@given(new=prompts, known=prompts)
def test_a_known_prefix_is_common_to_all_and_leaves_each_a_token(new: list[Prompt], known: list[Prompt]) -> None:
    found = best_known(new, known)
    most = max(min(common(prompt, base) - (prompt == base[: len(prompt)]) for prompt in new) for base in known)
    if found is None:
        assert most < MIN_TOKENS
    else:
        base, count = found
        assert base in known
        assert count == most >= MIN_TOKENS
        assert all(prompt[:count] == base[:count] and len(prompt) > count for prompt in new)
