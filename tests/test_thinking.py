"""Thoughts are told from answers by the markers of model families."""

import pytest

from swarmeval.requests import Thinking
from swarmeval.thinking import ANY, FAMILIES, end_of, ends_within, family, separated

THINK = FAMILIES[0]
CODE = "\n\n```python\nx = 1\n```"


@pytest.mark.parametrize(
    ("text", "opened", "parts"),
    [
        (f"<think>\nHm.\n</think>{CODE}", False, ("Hm.", CODE)),
        (f"Hm.\n</think>{CODE}", True, ("Hm.", CODE)),  # the template began the thought
        (f"Hm.\n</think>{CODE}", None, ("Hm.", CODE)),
        (f"Hm.\n</think>{CODE}", False, ("", f"Hm.\n</think>{CODE}")),  # the prompt rules that out
        ("<think>\nHm", False, ("Hm", "")),
        ("Hm", True, ("Hm", "")),
        ("Hm", None, ("", "Hm")),
        (CODE, False, ("", CODE)),
        (f"<think></think>{CODE}", None, ("", CODE)),
        ("say `<think>` first", None, ("", "say `<think>` first")),
        ("<think>a</think>b</think>c", None, ("a", "b</think>c")),  # only the first thought is separated
    ],
)
def test_a_reply_is_separated_at_its_first_end_marker(text: str, opened: bool | None, parts: tuple[str, str]) -> None:
    assert separated(text, THINK, opened) == parts


@pytest.mark.parametrize("markers", FAMILIES)
def test_every_family_is_recognised_in_replies_of_unknown_models(markers: Thinking) -> None:
    assert separated(f"{markers.start}Hm{markers.end}x", ANY) == ("Hm", "x")
    assert separated(f"{markers.start}Hm", ANY) == ("Hm", "")
    assert separated("x", ANY) == ("", "x")


def test_families_are_known_by_template_or_by_tokens() -> None:
    assert family("{% if enable_thinking %}<think>", ()) == THINK
    assert family("", {"[THINK]", "[/THINK]", "<s>"}) == Thinking("[THINK]", "[/THINK]")
    assert family("<|im_start|>assistant", {"<think>"}) is None
    assert (end_of("<think>"), end_of("<musing>")) == ("</think>", None)


@pytest.mark.parametrize("markers", [THINK, ANY])
def test_a_text_ends_within_a_thought_after_a_start_without_its_end(markers: Thinking) -> None:
    texts = ["<think>", "<think>\nOkay, so", "<think>\n\n</think>\n", "</think><think>", "Sure: ", ""]
    assert [ends_within(text, markers) for text in texts] == [True, True, False, True, False, False]


def test_an_opened_thought_without_any_marker_is_a_thought() -> None:
    assert (separated("Hm ", ANY, opened=True), separated("Hm ", ANY)) == (("Hm", ""), ("", "Hm "))
