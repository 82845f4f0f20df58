"""Cut replies stand beside the score: their share, pass@1 of the others, and what is unknown stays unknown."""

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Completion
from swarmeval.scores.intervals import wilson
from swarmeval.scores.truncation import NONE_FINISHED, NONE_JUDGED, UNKNOWN, WARNING, Truncation, cut_in_words

Reply = tuple[str, str, bool]  # task, finish reason, whether it passed


def counted(replies: list[Reply]) -> Truncation:
    truncation = Truncation()
    for number, (task, reason, passed) in enumerate(replies):
        truncation.add(task, Completion(f"{number}/{task}/0/0", "r", finish_reason=reason), passed)
    return truncation


def test_finished_replies_have_a_score_of_their_own_averaged_over_tasks() -> None:
    replies = [("a", "stop", True), ("a", "length", False), ("b", "stop", False), ("c", "length", False)]
    found = counted(replies).facts()
    assert found == {
        "replies": 4, "cut": 2, "share": 0.5, "finished": 2, "finished_pass@1": 0.5,
        "finished_pass@1_interval": list(wilson(1, 2)), "finished_tasks": 2, "warning": WARNING,
    }  # fmt: skip


def test_a_cut_reply_that_passes_still_counts_as_cut() -> None:
    found = counted([("a", "length", True), ("a", "stop", False)]).facts(intervals=False)
    assert found is not None
    assert (found["cut"], found["finished_pass@1"]) == (1, 0.0)
    assert "finished_pass@1_interval" not in found


def test_replies_that_do_not_say_how_they_ended_state_nothing() -> None:
    imported = counted([("a", "", True), ("a", "", False)])
    assert (imported.facts(), imported.reason(), imported.of_task("a")) == (None, UNKNOWN, None)
    assert (Truncation().facts(), Truncation().reason()) == (None, NONE_JUDGED)


def test_replies_with_unknown_ends_are_left_out_of_the_share_and_counted() -> None:
    mixed = counted([("a", "", True), ("a", "stop", True), ("a", "length", False)])
    found = mixed.facts()
    assert found is not None
    assert (found["share"], found["unknown"], mixed.reason()) == (0.5, 1, "")


def test_without_a_finished_reply_there_is_no_score_of_them() -> None:
    found = counted([("a", "length", False)]).facts()
    assert found is not None
    assert (found["finished_pass@1"], found["finished_pass@1_interval"]) == (None, None)
    assert found["undefined"] == {"finished_pass@1": NONE_FINISHED}


def test_a_reply_cut_while_thinking_is_cut_and_named() -> None:
    truncation = Truncation()
    truncation.add("a", Completion("0/a/0/0", "", finish_reason="length", reasoning="Let me see"), False)
    truncation.add("a", Completion("1/a/0/0", "", finish_reason="stop", reasoning="Done."), False)
    truncation.add("a", Completion("2/a/0/0", "text", finish_reason="length", reasoning="Done."), False)
    found = truncation.facts()
    assert found is not None
    assert (found["cut"], found["cut_while_thinking"]) == (2, 1)
    words = "2 of 3 replies (66.7 %) were cut by the limit on tokens, 1 of them while thinking"
    assert cut_in_words(found) == words


def test_a_word_of_a_server_for_another_end_is_not_a_cut() -> None:
    found = counted([("a", "content_filter", False), ("a", "stop", False)]).facts()
    assert found is not None
    assert cut_in_words(found) == "none of 2 replies was cut by the limit on tokens"


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_warning_begins_at_five_percent(replies: int, cut: int) -> None:
    ends = ["length"] * min(cut, replies) + ["stop"] * max(0, replies - cut)
    truncation = counted([("a", end, False) for end in ends])
    for found in (truncation.facts(), truncation.of_task("a")):
        assert found is not None
        assert ("warning" in found) == (20 * min(cut, replies) >= replies)
