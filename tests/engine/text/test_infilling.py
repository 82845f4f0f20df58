"""The prompt for the middle between a prefix and a suffix, in each model's own spelling, and where its answer ends."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, normalizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from swarmeval.engine import decoder_choice
from swarmeval.engine.engine import Engine
from swarmeval.engine.text.infilling import ENDS, end_ids, fills_gaps, gap_ids, prompt_ids
from swarmeval.engine.text.tokens import PromptError
from swarmeval.requests import Refusal, Reply, Request, Sampling
from tests.support import tiny_engine, tiny_model

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
# Special tokens of these models, and the prompt for "a\n", gap, " b". Ġ is a space, Ċ a newline.
SPELLED = {
    "Qwen2.5-Coder": ((*QWEN, "<|fim_pad|>"), "<bos><|fim_prefix|>aĊ<|fim_suffix|>Ġb<|fim_middle|>"),
    "CodeGemma": ((*QWEN, "<|file_separator|>"), "<bos><|fim_prefix|>aĊ<|fim_suffix|>Ġb<|fim_middle|>"),
    "StarCoder": (
        ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"),
        "<bos><fim_prefix>aĊ<fim_suffix>Ġb<fim_middle>",
    ),
    "SantaCoder": (
        ("<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"),
        "<bos><fim-prefix>aĊ<fim-suffix>Ġb<fim-middle>",
    ),
    "DeepSeek-Coder": (
        ("<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"),
        "<bos><｜fim▁begin｜>aĊ<｜fim▁hole｜>Ġb<｜fim▁end｜>",
    ),
    "Codestral": (("[PREFIX]", "[MIDDLE]", "[SUFFIX]"), "<bos>[SUFFIX]Ġb[PREFIX]aĊ"),
}


def tokenizer(*special: str) -> Any:
    """A byte-level tokenizer with more special tokens. The model has 27 ids for them, from 261 on."""
    made = tiny_model.tokenizer()
    made.add_tokens(list(special), special_tokens=True)
    return made


def sentencepiece(*special: str) -> Any:
    """A tokenizer that puts a space before each text, as SentencePiece does."""
    words = ["<s>", "</s>", "▁", "☺", "a", "b", "\n"]
    inner = Tokenizer(BPE(vocab={word: index for index, word in enumerate(words)}, merges=[]))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    made.add_tokens(list(special), special_tokens=True)
    return made


def spelled(tokenizer: Any, prefix: str, suffix: str) -> str:
    return "".join(tokenizer.convert_ids_to_tokens(list(gap_ids(tokenizer, prefix, suffix))))


@pytest.mark.parametrize(("special", "prompt"), SPELLED.values(), ids=SPELLED)
def test_a_gap_is_marked_with_the_models_own_tokens(special: tuple[str, ...], prompt: str) -> None:
    made = tokenizer(*special)
    assert fills_gaps(made)
    assert spelled(made, "a\n", " b") == prompt


def test_code_llamas_suffix_lacks_the_space_before_a_text() -> None:
    made = sentencepiece("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>")
    assert spelled(made, "a\n", "\nb") == "<s>▁<PRE>▁a\n▁<SUF>\nb▁<MID>"
    assert spelled(made, "a\n", " b") == "<s>▁<PRE>▁a\n▁<SUF>▁b▁<MID>"


def test_codestrals_suffix_comes_first_and_lacks_the_space_too() -> None:
    assert spelled(sentencepiece("[PREFIX]", "[SUFFIX]"), "a\n", "b") == "<s>[SUFFIX]b[PREFIX]▁a\n"


def test_a_gap_at_the_end_has_an_empty_suffix() -> None:
    assert spelled(tokenizer(*QWEN), "a", "") == "<bos><|fim_prefix|>a<|fim_suffix|><|fim_middle|>"


@pytest.mark.parametrize("special", [(), QWEN[:2], ("<｜fim▁begin｜>", "<|fim_suffix|>", "<fim_middle>")])
def test_a_model_without_these_tokens_takes_no_suffix(special: tuple[str, ...]) -> None:
    made = tokenizer(*special)
    assert not fills_gaps(made)
    with pytest.raises(PromptError, match=r"^the model has no fill-in-the-middle tokens, so it cannot take a suffix$"):
        prompt_ids(made, "a", "b")


@pytest.mark.parametrize(("special", "ends"), [(QWEN, ENDS[:5]), (("▁<PRE>", "▁<SUF>", "▁<MID>"), ("▁<EOT>",))])
def test_only_a_prompt_with_a_gap_ends_at_more_tokens(special: tuple[str, ...], ends: tuple[str, ...]) -> None:
    made = tokenizer(*special, *ends)
    found = end_ids(made, gap_ids(made, "a", "b"))
    assert set(made.convert_ids_to_tokens(sorted(found))) == {*special[:2], *ends}
    assert end_ids(made, prompt_ids(made, "a", None)) == frozenset()


def engine(made: Any, model: Any) -> Engine:
    whole = tiny_engine.engine(4, model)
    decoder = decoder_choice.fitted(model, tiny_model.budget(model, 4), None).decoder
    return Engine(model, made, decoder, whole.info())


def expected(made: Any, model: Any, prompt: tuple[int, ...], ends: list[int]) -> list[int]:
    """The answer of transformers' generate, without the token that ends it."""
    ids = torch.tensor([prompt])
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24, pad_token_id=1, eos_token_id=ends
    )
    answer: list[int] = output[0, ids.shape[1] :].tolist()
    return answer[:-1] if answer[-1] in ends else answer


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 2])
def test_an_answer_ends_where_generate_ends_with_these_tokens(beams: int) -> None:
    made, model = tokenizer(*QWEN, *ENDS), tiny_engine.MODEL
    running = engine(made, model)
    gaps = [(f"def f{n}(x):\n", "    return x\n" * (n % 3)) for n in range(4)]
    sampling = Sampling(max_new_tokens=24, do_sample=False, num_beams=beams)
    for number, (prefix, suffix) in enumerate(gaps):
        running.submit(Request(f"{number}/t/0/0", 0, sampling, text=prefix, suffix=suffix))
    replies = {reply.job_id: reply for reply in tiny_engine.finish(running) if isinstance(reply, Reply)}
    early = 0
    for number, (prefix, suffix) in enumerate(gaps):
        prompt = gap_ids(made, prefix, suffix)
        reply = replies[f"{number}/t/0/0"]
        if beams == 1:
            wanted = expected(made, model, prompt, [1, 2, *end_ids(made, prompt)])
            assert reply.text == made.decode(wanted, skip_special_tokens=True)
            early += expected(made, model, prompt, [1, 2]) != wanted
        else:
            early += reply.finish_reason == "stop"
    assert early > 0


@pytest.mark.slow
def test_an_engine_refuses_a_suffix_that_its_model_cannot_take() -> None:
    running = engine(tokenizer(), tiny_engine.MODEL)
    running.submit(Request("0/t/0/0", 0, tiny_engine.GREEDY, text="a", suffix="b"))
    reason = "the model has no fill-in-the-middle tokens, so it cannot take a suffix"
    assert tiny_engine.finish(running) == [Refusal("0/t/0/0", reason, retry=False)]
