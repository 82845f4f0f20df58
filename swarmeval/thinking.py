"""The thoughts that a model writes before its answer: the markers of known families, and separating the two."""

from collections.abc import Container

from swarmeval.requests import Thinking

# Each with models whose chat template or tokenizer has these markers.
FAMILIES = (
    Thinking("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, GLM-4.5, SmolLM3, MiniMax-M1, Phi-4-reasoning
    Thinking("[THINK]", "[/THINK]"),  # Magistral
    Thinking("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),  # gpt-oss
    Thinking("<|channel>thought", "<channel|>"),  # Gemma 4
    Thinking("<seed:think>", "</seed:think>"),  # Seed-OSS
    Thinking("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    Thinking("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Thinking("<thought>", "</thought>"),  # EXAONE Deep
    Thinking("◁think▷", "◁/think▷"),  # Kimi-VL
)


ANY = Thinking("", "")  # of a server whose model's family is unknown


def family(template: str, tokens: Container[str]) -> Thinking | None:
    """The family whose markers a chat template mentions, or are tokens of the model; None if there is none."""
    for markers in FAMILIES:
        if markers.start in template or markers.end in template:
            return markers
    return next((markers for markers in FAMILIES if markers.start in tokens and markers.end in tokens), None)


def end_of(start: str) -> str | None:
    """The end marker that belongs to a known start marker."""
    return next((markers.end for markers in FAMILIES if markers.start == start), None)


def begins(text: str, thinking: Thinking) -> bool:
    """Whether a reply begins with a thought."""
    return text.lstrip().startswith(thinking.start)


def ends_within(text: str, thinking: Thinking) -> bool:
    """Whether a text ends within a thought."""
    known = FAMILIES if thinking.start == "" else (thinking,)
    return any(text.rfind(markers.start) > text.rfind(markers.end) for markers in known)


def separated(text: str, thinking: Thinking, opened: bool | None = None) -> tuple[str, str]:
    """(thought, answer) of a reply. The answer to an unfinished thought is empty.

    `opened`: whether the prompt began the thought. If that is unknown (None), an end marker alone shows it.
    """
    if thinking.start == "":
        unmarked = (text.strip(), "") if opened else ("", text)
        found = [markers for markers in FAMILIES if begins(text, markers)]
        found += [markers for markers in FAMILIES if markers.end in text and not found]
        return separated(text, found[0], opened) if found else unmarked
    begun = begins(text, thinking)
    thought, mark, answer = text.partition(thinking.end)
    if not begun and not opened and (opened is False or not mark):
        return "", text
    return (thought.lstrip().removeprefix(thinking.start) if begun else thought).strip(), answer
