"""The format of the weights is named once, and what it excludes is refused."""

from pathlib import Path

import pytest

from swarmeval.settings import manifest_settings
from swarmeval.settings.loading import load, parse_set, validate
from swarmeval.settings.weight_rules import weight_format
from tests.support.refused_settings import refused


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ([], "nf4"), (["load_in_4bit=true"], "nf4"), (["load_in_4bit=false"], "auto"), (["weights=fp16"], "fp16"),
        (["weights=nf4", "load_in_4bit=true"], "nf4"), (["weights=int8", "load_in_4bit=false"], "int8"),
    ],
)  # fmt: skip
def test_load_in_4bit_is_another_spelling_of_nf4(words: list[str], form: str) -> None:
    config = validate(parse_set(words), "-")
    assert weight_format(config) == form
    read = manifest_settings.read(config.model_dump(mode="json", exclude={"wandb": {"api_key"}}))
    assert read.measured() == config.measured()


def test_two_spellings_that_contradict_each_other_are_refused() -> None:
    assert refused("weights=bf16", "load_in_4bit=true") == (
        "x.yaml: weights is 'bf16' but load_in_4bit is true, which means nf4; keep one of them"
    )
    assert refused("weights=nf4", "load_in_4bit=false") == (
        "x.yaml: weights is 'nf4' but load_in_4bit is false, which means anything else; keep one of them"
    )


def test_either_spelling_on_the_command_line_replaces_the_files(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("load_in_4bit: true\n")
    assert weight_format(load(file, {"weights": "int8"})) == "int8"
    file.write_text("weights: int8\n")
    assert weight_format(load(file, {"load_in_4bit": False})) == "auto"


@pytest.mark.parametrize("word", ["replica.double_quantization=true", "replica.quantization_block=128"])
def test_details_of_nf4_need_nf4(word: str) -> None:
    validate(parse_set([word]), "-")
    key = word.partition("=")[0]
    assert refused("weights=int8", word) == f"x.yaml: {key} is for weights: nf4 only; set that or remove {key}"
    assert refused("fleet=vllm", word) == (
        f"x.yaml: {key} is set but fleet is 'vllm', which does not use it; remove {key}"
    )


@pytest.mark.parametrize("weights", ["int8", "gguf"])
def test_formats_that_vllm_does_not_make_are_refused(weights: str) -> None:
    assert refused("fleet=vllm", f"weights={weights}") == (
        f"x.yaml: fleet: vllm does not load weights: {weights}; use nf4, bf16, fp16, fp32 or checkpoint"
    )


def test_a_revision_of_a_served_model_is_refused() -> None:
    assert refused("fleet=endpoint", "endpoint.urls=[http://a/v1]", "model_revision=main") == (
        "x.yaml: model_revision is set but fleet is 'endpoint', whose servers chose their model; remove model_revision"
    )


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    assert refused("weights=int4") == (
        "x.yaml: weights is 'int4'; it should be 'nf4', 'int8', 'bf16', 'fp16', 'fp32', 'checkpoint' or 'gguf'"
    )
