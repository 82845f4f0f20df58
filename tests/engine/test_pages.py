"""The page pool: sharing, refusals, and that no page is ever lost or leased twice."""

import random

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.engine.pages import Lease, PagePool, pages_of

PAGE = 16


def prompt(*parts: int) -> tuple[int, ...]:
    """A prompt of whole pages, one per number."""
    return tuple(part for part in parts for _ in range(PAGE))


def leased(pool: PagePool, tokens: tuple[int, ...], new_tokens: int = 1, share: bool = True) -> Lease:
    lease = pool.lease(tokens, new_tokens, share)
    assert lease is not None
    return lease


def test_equal_prompts_share_pages_and_answers_do_not() -> None:
    pool = PagePool(10, keep=0, page=PAGE)
    first, second = leased(pool, (1, 2, 3), 20), leased(pool, (1, 2, 3), 20)
    assert (first.known, second.known) == (0, 3)
    assert first.prompt == second.prompt
    assert len({*first.prompt, *first.own, *second.own}) == 5
    assert pool.available == 5


def test_prompts_share_their_common_prefix_to_the_last_whole_page() -> None:
    pool = PagePool(10, keep=0, page=PAGE)
    first = leased(pool, (*prompt(1, 2), 3, 4, 5))
    second = leased(pool, (*prompt(1, 2), 3, 9))
    third = leased(pool, prompt(1, 7))
    assert second.known == 2 * PAGE
    assert second.prompt[:2] == first.prompt[:2]
    assert third.known == PAGE
    assert third.prompt[0] == first.prompt[0]
    assert len({*first.prompt, *second.prompt, *third.prompt}) == 5


def test_equal_tokens_after_different_ones_are_another_page() -> None:
    pool = PagePool(10, keep=0, page=PAGE)
    first, second = leased(pool, prompt(1, 3)), leased(pool, prompt(2, 3))
    assert second.known == 0
    assert not set(first.prompt) & set(second.prompt)


def test_without_sharing_every_row_has_its_own_pages() -> None:
    pool = PagePool(10, keep=4, page=PAGE)
    first, second = leased(pool, prompt(1), share=False), leased(pool, prompt(1), share=False)
    assert second.known == 0
    assert not set(first.prompt) & set(second.prompt)


def test_an_unused_prompt_is_kept_until_its_pages_are_needed() -> None:
    pool = PagePool(4, keep=4, page=PAGE)
    pool.release(leased(pool, prompt(1, 2)))
    assert pool.available == 4
    again = leased(pool, prompt(1, 2))
    assert again.known == 2 * PAGE
    pool.release(again)
    pool.release(leased(pool, prompt(3, 4, 5)))
    # The last pages of a prompt are dropped first, so that its prefix can still be reused.
    assert leased(pool, prompt(1, 2)).known <= PAGE


def test_a_forgotten_prefix_is_never_mistaken_for_another() -> None:
    pool = PagePool(3, keep=3, page=PAGE)
    pool.release(leased(pool, prompt(1, 2)))
    pool.release(leased(pool, prompt(3, 4)))
    lease = leased(pool, prompt(3, 2))
    assert lease.known == PAGE


def test_too_few_pages_are_refused_and_nothing_is_taken() -> None:
    pool = PagePool(3, keep=0, page=PAGE)
    lease = leased(pool, prompt(1))
    assert pool.lease(prompt(1), 2 * PAGE) is None
    assert pool.available == 1
    pool.release(lease)
    assert leased(pool, prompt(1), 2 * PAGE)


def test_the_number_of_kept_pages_is_limited() -> None:
    pool = PagePool(20, keep=2, page=PAGE)
    pool.release(leased(pool, prompt(1, 2, 3, 4, 5)))
    assert leased(pool, prompt(1, 2, 3, 4, 5)).known == 2 * PAGE


@given(seed=st.integers(0, 10_000), keep=st.integers(0, 8))
def test_only_rows_that_hold_a_page_read_it(seed: int, keep: int) -> None:
    """Under random arrivals, shared pages hold equal tokens, own pages belong to one row, and no page is lost."""
    chance, count = random.Random(seed), 24
    pool = PagePool(count, keep, page=PAGE)
    held: list[tuple[tuple[int, ...], Lease]] = []
    for _ in range(40):
        if held and chance.random() < 0.4:
            pool.release(held.pop(chance.randrange(len(held)))[1])
        tokens = tuple(chance.randrange(2) for _ in range(chance.choice([1, 15, 16, 17, 40])))
        lease = pool.lease(tokens, chance.choice([1, 16, 33]))
        if lease is not None:
            assert len(lease.prompt) == pages_of(len(tokens), PAGE)
            assert lease.known % PAGE == 0 or lease.known == len(tokens)
            held.append((tokens, lease))
        content: dict[int, tuple[int, ...]] = {}
        own: list[int] = []
        for row, one in held:
            for index, page in enumerate(one.prompt):
                assert content.setdefault(page, row[: (index + 1) * PAGE]) == row[: (index + 1) * PAGE]
            own += one.own
        assert len(set(own)) == len(own)
        assert not set(own) & set(content)
        assert pool.available == count - len(own) - len(content)
    for _, lease in held:
        pool.release(lease)
    assert pool.available == count
