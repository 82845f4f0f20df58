"""The known trees of answers: kept within a limit, and never forgotten while a request is in them."""

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.engine.branches import EMPTY, Branch, Trees
from swarmeval.engine.sampler import Choice
from swarmeval.engine.text.tokens import Detokenizer
from tests.support.tiny_engine import TOKENIZER

CHOICE = Choice(True, 1.0, 0, 1.0, 1.0)


class Known:
    """The distribution after a node, as large as the test says."""

    def __init__(self, row_bytes: int) -> None:
        self.row_bytes = row_bytes

    def draw(self, row: int, uniform: float) -> int | None:
        return 5


def grow(trees: Trees, prompt: tuple[int, ...], row_bytes: int, members: int) -> Branch:
    """Keep one distribution at the root of a prompt's tree, which has this many requests."""
    tree = trees.of(prompt, Detokenizer(TOKENIZER, prompt))
    tree.members = members
    branch = Branch(tree, tree.root, [], EMPTY)
    trees.keep([(branch, CHOICE)], Known(row_bytes))
    return branch


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4000), st.integers(0, 1)), max_size=40))
def test_what_is_kept_stays_within_the_limit(steps: list[tuple[int, int, int]]) -> None:
    trees = Trees(share=True, most_bytes=10_000)
    for name, row_bytes, members in steps:
        branch = grow(trees, (name,), row_bytes, members)
        assert trees.kept_bytes <= 10_000 + 10 * 36  # beyond the limit: the prompts of requests in progress
        assert not members or trees.of((name,), branch.tree.detokenizer) is branch.tree
    trees.forget_idle()
    assert trees.kept_bytes >= 0


def test_the_least_recently_used_idle_tree_is_forgotten_first() -> None:
    trees = Trees(share=True, most_bytes=5000)
    old, busy, recent = grow(trees, (1,), 1000, 0), grow(trees, (2,), 1000, 1), grow(trees, (3,), 1000, 0)
    grow(trees, (4,), 1000, 0)
    again = [trees.of(branch.tree.prompt, branch.tree.detokenizer) is branch.tree for branch in (old, busy, recent)]
    assert again == [False, True, True]


def test_nothing_is_kept_for_requests_that_do_not_share() -> None:
    trees = Trees(share=False)
    one, other = grow(trees, (1,), 1000, 1), grow(trees, (1,), 1000, 1)
    assert one.tree is not other.tree
    assert not one.node.kept
