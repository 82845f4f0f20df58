"""Markers that models and servers leave in replies: end-of-text and end-of-turn tokens, reasoning, channels, bidi."""

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.extraction.thoughts import without_thoughts
from tests.support.wrappings import TASK, fence, program_passes

BODY = "    return sum(numbers)"
WHOLE = f"def total(numbers):\n{BODY}"
WRONG = "def total(numbers):\n    return 7"
END_MARKS = [
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "<|return|>", "<|EOT|>",
    "<|eom|>", "<|eos|>", "<|assistant_end|>", "<|END_OF_TURN_TOKEN|>", "<|END_RESPONSE|>", "<|user|>",
    "<|observation|>", "<|reserved_special_token_0|>", "<|hy_place▁holder▁no▁2|>", "<｜end▁of▁sentence｜>",
    "<|end▁of▁sentence|>", "<｜User｜>", "<|role_end|>", "<|im_e", "</s>", "[/INST]", "<eos>", "<bos>", "<EOS>",
    "<pad>", "<EOT>", "<eot>", "<end_of_turn>", "<start_of_turn>", "<turn|>", "<|turn>", "<end_of_utterance>",
    "<eoa>", "<file_sep>", "<fim_middle>", "<extra_id_1>", "<SPECIAL_12>", "<reserved_106>", "<seed:eos>",
    "<[end▁of▁sentence]>", "[|endofturn|]", "[e~[", "[EOS]", "[EOT]", "[UNUSED_TOKEN_145]", "</response>",
]  # fmt: skip


@pytest.mark.parametrize("mark", END_MARKS)
def test_the_end_of_a_text_or_turn_is_cut(mark: str) -> None:
    talk = f"{mark}\nThat's all {mark}{mark}" if mark != "<|im_e" else ""
    for code in (BODY, WHOLE, fence(WHOLE), f"```python\n{WHOLE}", f"Sure!\n{WHOLE}"):
        for end in (mark, f"\n{mark}\n", f" {mark}", f"{mark}{talk}") if talk else (mark, f"\n{mark}"):
            assert program_passes(candidate(code + end, "reply", TASK), TASK), code + end


@pytest.mark.parametrize("mark", [mark for mark in END_MARKS if mark != "<|im_e"])
def test_in_strings_and_comments_such_a_mark_is_text(mark: str) -> None:
    code = f'def total(numbers):\n    # until {mark} comes\n    assert len("{mark}") == {len(mark)}\n{BODY}'
    for reply in (code, fence(code), code.partition("\n")[2]):
        found = candidate(reply, "reply", TASK)
        assert program_passes(found, TASK), found
        assert code.partition("\n")[2] in found.code


@pytest.mark.parametrize(
    "line",
    [
        "return eos * 0 + sum(numbers) if 0<eos>0 else 5",
        "return 5 if 0<eos>2 else sum(numbers)",
        "return [0][EOS] + sum(numbers)",
    ],
)
def test_a_comparison_or_an_index_is_not_a_marker(line: str) -> None:
    code = f"EOS = 0\n\ndef total(numbers):\n    eos = 1\n    if [] == numbers:\n        return 0\n    {line}"
    for reply in (code, fence(code)):
        assert program_passes(candidate(reply, "reply", TASK), TASK), reply


@pytest.mark.parametrize(
    "control", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2060\ufeff"
)
def test_marks_of_direction_go(control: str) -> None:
    for code in (BODY, WHOLE, fence(WHOLE)):
        spoiled = code.replace("sum", f"{control}sum").replace("(numbers)", f"(numbers{control})")
        assert program_passes(candidate(f"{control}{spoiled}{control}", "reply", TASK), TASK), spoiled


THOUGHTS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),
    ("<think_faster>", "</think_faster>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|thought_start|>", "<|thought_end|>"),
    ("<|think|>", "<|/think|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("Here is my thought process:", "\nHere is my response:"),
    ("Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>final <|constrain|>code<|message|>"),
    ("<|channel|>analysis<|message|>a<|end|><|channel|>commentary<|message|>", "<|channel|>final<|message|>"),
    ("analysis", "assistantfinal"),
    ("analysisI see.assistantcommentary to=python ", "assistantfinal"),
]


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS, ids=[closing.strip() for _, closing in THOUGHTS])
def test_thoughts_of_every_family_leave_the_answer(opening: str, closing: str) -> None:
    for draft in (fence(WRONG), f"It's\n{WRONG}\nbut that isn't right.", 'Say "a", it\'s `b`.'):
        for answer in (BODY, WHOLE, fence(WHOLE), f"\n{WHOLE}"):
            for reply in (f"{opening}{draft}\n{closing}{answer}", f"{opening}{draft}{closing}\n{answer}<|return|>"):
                assert program_passes(candidate(reply, "reply", TASK), TASK), reply


def test_a_final_channel_alone_is_the_answer() -> None:
    for reply in (f"final{WHOLE}", f"final{fence(WHOLE)}", f"<|channel|>final<|message|>{WHOLE}<|return|>"):
        assert program_passes(candidate(reply, "reply", TASK), TASK), reply


def test_thoughts_count_where_nothing_else_holds_code() -> None:
    for opening, _ in THOUGHTS:
        assert program_passes(candidate(f"{opening}\nI say:\n{fence(WHOLE)}\n", "reply", TASK), TASK), opening


CLOSING = [
    "</think>",
    "</thinking>",
    "[/THINK]",
    "◁/think▷",
    "<|end_of_thought|>",
    "<channel|>",
    "assistantfinal",
    "<think>",
]


@pytest.mark.parametrize("mark", CLOSING)
@pytest.mark.parametrize(
    "line",
    [
        "    # drop everything up to {} first",
        "    # up to {}",
        "    x = 1  # up to {} only",
        "    x = 1 # {}",
        "    s = '{} x'",
        '    s = "a {}"',
        '    s = f"{}"',
        "    s = r'it is \\' {}'",
        '    """Up to {} it goes."""',
        "    '''\n    {}\n    '''",
    ],
)
def test_a_mark_in_a_comment_or_string_is_text(mark: str, line: str) -> None:
    code = f"import math\n\ndef total(numbers):\n{line.format(mark)}\n    return math.floor(sum(numbers))"
    body = f"{line.format(mark)}\n{BODY}"
    for reply in (
        code,
        fence(code),
        f"<think>\nIt's {fence(WRONG)}</think>\n{code}",
        f"Sure, it's:\n{fence(code)}\nDone.",
    ):
        found = candidate(reply, "reply", TASK)
        assert program_passes(found, TASK), found
        assert line.format(mark) in found.code
    assert without_thoughts(body) == body


@pytest.mark.parametrize("tag", ["answer", "code", "solution"])
def test_the_end_of_a_tag_in_a_comment_or_string_is_text(tag: str) -> None:
    mark = f"</{tag}>"
    for line in (f"# up to {mark} first", f's = "{mark}"', f"s = '{mark}' + ''  # {mark} x"):
        reply = f"<{tag}>\ndef total(numbers):\n    {line}\n{BODY}  # so{mark}\nThat's it."
        assert program_passes(candidate(reply, "reply", TASK), TASK), reply
