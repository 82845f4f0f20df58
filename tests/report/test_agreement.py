"""Agreement among the replies to a task: counts of distinct texts, and the size of their prefix tree."""

import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Completion, Failure, Outcome, Verdict
from swarmeval.report.agreement import Agreement, agreement, common_start
from swarmeval.report.replies import PACKED_MOST, Packs, by_task, pack
from swarmeval.runs.answer_index import AnswerIndex
from tests.support.run_folders import Answer, leave, plan_of

TEXT = st.text("ab\n", max_size=12)


@given(TEXT, TEXT)
def test_a_common_start_is_as_long_as_possible(one: str, other: str) -> None:
    length = common_start(one, other)
    assert one[:length] == other[:length]
    assert one[length : length + 1] != other[length : length + 1] or length == len(one) == len(other)


@given(st.lists(TEXT, min_size=1, max_size=8))
def test_distinct_characters_are_the_nodes_of_the_prefix_tree(replies: list[str]) -> None:
    nodes = {reply[:end] for reply in replies for end in range(1, len(reply) + 1)}
    found = agreement(replies, replies)
    assert found.distinct_characters == len(nodes)
    assert (found.replies, found.characters) == (len(replies), sum(map(len, replies)))
    assert found.distinct_replies == found.distinct_programs == len(set(replies))


def packed(folder: Path, given: list[Answer], most: int = PACKED_MOST, **settings: object) -> Packs:
    config, plan = plan_of(1, len(given), **settings)
    leave(folder, config, plan, given)
    answers = AnswerIndex(folder, 1)
    return pack(answers, by_task(answers), {}, most)


def answer(agent: int, reply: str, code: str = "code", sample: int = 0, round_: int = 0) -> Answer:
    job_id = f"{agent}/HumanEval/0/{sample}/{round_}"
    return Completion(job_id, reply), Verdict(job_id, Outcome.RAISED, code)


def test_repairs_and_failures_are_no_replies_that_agree(tmp_path: Path) -> None:
    given = [answer(0, "abc", "one"), answer(1, "abd", "two"), answer(2, "abd", "two")]
    repair, failure = answer(0, "a repair", round_=1), (Failure("3/HumanEval/0/0/0", "it died", 3), None)
    packs = packed(tmp_path, [*given, failure, repair], max_repairs=1)
    assert packs.agreements == (Agreement(3, 2, 2, 9, 4),)


def test_a_single_reply_has_nothing_to_agree_with(tmp_path: Path) -> None:
    assert packed(tmp_path, [answer(0, "abc")]).agreements == (None,)


def test_replies_that_were_left_out_or_cut_have_no_tree(tmp_path: Path) -> None:
    chance = random.Random(5)
    given = [answer(agent, "".join(chance.choices("abcdefgh", k=9_000))) for agent in range(9)]
    packs = packed(tmp_path, given, most=20_000)
    assert packs.portion.words() != ""
    assert packs.agreements == (None,)
