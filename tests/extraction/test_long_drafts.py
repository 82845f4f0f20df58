"""The final answer after a long draft is found, in linear time."""

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate
from tests.support.speed import cpu_seconds
from tests.support.wrappings import TASK, fence, program_passes

WRONG = "def total(numbers):\n    return 7\n"
RIGHT = "def total(numbers):\n    return sum(numbers)\n"
DRAFTS = {
    "words": "Let me see. " * 5 + "\n",
    "prose": "It's like this: we (add\nthem up.\n\n",
    "drafts in fences": f"{fence(WRONG)}\nNo, that's wrong.\n",
    "broken drafts": "```python\ndef total(a):\n    return (\n```\nWell.\n",
    "drafts": f"{WRONG}\nThat isn't it.\n\n",
    "broken bodies": "    x = [1, 2, 3\n    y = x\n\n",
    "helpers": "def helper(a):\n    return a * 2\n\n",
    "statements": "x = 1\n",
    "quoted drafts": "> def total(a):\n>     return 7\n",
    "curly quotes": "We say “so” and it’s fine.\n",
    "comments": "# a note\n",
    "blocks": "    if x:\n        y = 1\n",
    "unclosed fences": "```\nfoo bar\n",
}
FINAL = {
    "fence": fence(RIGHT),
    "fence without a tag": fence(RIGHT, ""),
    "tags": f"<answer>\n{RIGHT}</answer>",
    "unclosed": f"```python\n{RIGHT}",
    "curly quotes": fence("def total(numbers):\n    x = “a”\n    return sum(numbers)"),
    "long talk behind": fence(RIGHT) + "\n" + "That's all there is to say.\n" * 2_000,
    "helper": "\nand\n".join(map(fence, ("def add(x):\n    return sum(x)", "def total(n):\n    return add(n)"))),
}


@pytest.mark.slow
@pytest.mark.parametrize("chars", [20_000, 100_000, 1_000_000])
@pytest.mark.parametrize("draft", DRAFTS)
def test_the_final_answer_is_found_behind_a_long_draft(draft: str, chars: int) -> None:
    for final, answer in FINAL.items():
        if draft.startswith("drafts") and final == "curly quotes":
            continue  # the draft is a complete answer already, but the final one needs a repair
        text = DRAFTS[draft] * (chars // len(DRAFTS[draft])) + "\n" + answer
        found = found_in_time(text)
        assert program_passes(found, TASK), (final, found.note)


def found_in_time(text: str) -> Candidate:
    found: list[Candidate] = []
    assert cpu_seconds(lambda: found.append(candidate(text, "reply", TASK)), limit_s=1.0) < 1.0, text[-200:]
    return found[-1]
