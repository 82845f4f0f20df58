"""Arguments of vLLM's engine are refused where another setting decides."""

import pytest

from swarmeval.settings import manifest_settings
from swarmeval.settings.loading import parse_set, validate
from tests.support.refused_settings import refused


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("model: a", "vllm.args.model cannot be set: set model_id instead"),
        ("dtype: auto", "vllm.args.dtype cannot be set: set weights instead"),
        ("quantization: fp8", "vllm.args.quantization cannot be set: set weights instead"),
        ("max_num_seqs: 4", "vllm.args.max_num_seqs cannot be set: set replica.rows instead"),
        ("seed: 1", "vllm.args.seed cannot be set: set seed instead"),
        ("data_parallel_size: 2", "vllm.args.data_parallel_size cannot be set: set use_data_parallelism instead"),
        ("disable_log_stats: true", "vllm.args.disable_log_stats cannot be set: Swarmeval sets it; remove it"),
        ("hf_token: t", "vllm.args.hf_token cannot be set: set the environment variable HF_TOKEN instead"),
        (
            "tensor_parallel_size: 2",
            "vllm.args.tensor_parallel_size needs one engine over all GPUs; "
            "set use_data_parallelism: false or remove it",
        ),
    ],
)
def test_an_argument_that_a_setting_decides_is_refused_with_both_names(argument: str, fault: str) -> None:
    assert refused("fleet=vllm", f"vllm.args={{{argument}}}") == f"x.yaml: {fault}"


def test_arguments_without_vllm_are_refused() -> None:
    assert refused("vllm.args={kv_cache_dtype: fp8}") == (
        "x.yaml: vllm.args is set but fleet is 'local'; set fleet: vllm or remove vllm.args"
    )


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            ["device=cpu", "load_in_4bit=false"],
            "on a CPU, vLLM 0.32 loses temperature, top_k and top_p with it; set do_sample: false, or remove it",
        ),
        (
            ["device=cpu", "load_in_4bit=false", "do_sample=false", "thinking.budget_tokens=99"],
            "on a CPU, vLLM 0.32 may end a thought in the wrong reply with it; remove thinking.budget_tokens or it",
        ),
        (["min_p=0.1"], "vLLM does not support min_p with it; remove one of both"),
        (["do_sample=false", "logit_bias={5: 1.0}"], "vLLM does not support logit_bias with it; remove one of both"),
        (["agents=[{min_p: 0.0}, {min_p: 0.1}]"], "vLLM does not support min_p with it; remove one of both"),
    ],
)
def test_settings_that_vllm_lacks_with_speculation_are_refused(settings: list[str], fault: str) -> None:
    drafts = "vllm.args={speculative_config: {method: ngram, num_speculative_tokens: 4}}"
    assert refused("fleet=vllm", drafts, *settings) == f"x.yaml: vllm.args.speculative_config: {fault}"
    validate(parse_set(["fleet=vllm", drafts, "min_p=0.1", "do_sample=false"]), "-")


def test_other_arguments_are_recorded_and_measured() -> None:
    words = ["fleet=vllm", "use_data_parallelism=false"]
    words += ["vllm.args={tensor_parallel_size: 2, speculative_config: {method: ngram, num_speculative_tokens: 4}}"]
    config = validate(parse_set(words), "-")
    assert config.measured()["vllm.args"] == config.vllm.args
    read = manifest_settings.read(config.model_dump(mode="json", exclude={"wandb": {"api_key"}}))
    assert read.measured() == config.measured()
