"""Thought tokens have a total and a mean wherever a reply has thoughts, and are undefined where one is uncounted."""

from swarmeval.records import Completion
from swarmeval.scores.reasoning import Reasoning, reasoning_in_words


def counted(*thoughts: tuple[str, int | None]) -> dict[str, object]:
    reasoning = Reasoning()
    for number, (text, tokens) in enumerate(thoughts):
        reasoning.add(Completion(f"{number}/a/0/0", "r", reasoning=text, reasoning_tokens=tokens))
    return reasoning.facts()


def test_replies_without_thoughts_say_nothing_about_them() -> None:
    assert counted(("", None), ("", 0)) == {}


def test_total_and_mean_cover_the_replies_that_have_thoughts() -> None:
    found = counted(("I see", 10), ("", 0), ("", None), ("Hm", 21))
    assert found == {"reasoning": {"replies": 2, "tokens": 31, "mean_tokens": 15.5}}
    assert reasoning_in_words(found["reasoning"]) == "2 replies have thoughts: 31 tokens, 16 per reply"  # type: ignore[arg-type]


def test_one_uncounted_thought_leaves_total_and_mean_undefined() -> None:
    found = counted(("I see", 10), ("Hm", None))
    reason = "1 of 2 replies do not state the tokens of their thoughts"
    assert found == {
        "reasoning": {
            "replies": 2, "tokens": None, "mean_tokens": None, "undefined": {"tokens": reason, "mean_tokens": reason},
        }
    }  # fmt: skip
