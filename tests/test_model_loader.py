"""Loading a tiny random model on the CPU in 16 and in 4 bits, and the errors if it cannot be loaded."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import model_loader
from swarmeval.engine.budget import MOST_ROWS
from swarmeval.engine.weights import cpu_weights, footprint, weight_cache
from swarmeval.errors import DeviceError, ModelUnavailable
from swarmeval.requests import Request, Sampling
from swarmeval.workers.replica import make_replica
from swarmeval.workers.replica_spec import ReplicaSpec
from tests.support import tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model.save(tmp_path_factory.mktemp("model")))


def linears(model: Any) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}


def spec(folder: str, cache: Literal["auto", "on", "off"] = "auto") -> ReplicaSpec:
    return ReplicaSpec(
        "hf", folder, "cpu", "nf4", cache, "auto", "off", data_parallel=True, rows=None, max_new_tokens=64
    )


def test_the_embedded_model_and_folders_need_no_fetching(folder: str) -> None:
    assert model_loader.locate("embedded") == "embedded"
    assert model_loader.locate(folder) == folder


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as error:
        model_loader.locate(str(tmp_path))
    assert str(error.value) == f"{tmp_path}: the folder has no config.json; name the folder of a transformers model"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "weights.ckpt", "m.pkl"])
def test_a_folder_that_has_only_pickles_is_refused_without_reading_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch read'\ntR.")  # runs a command when loaded
    for weights in (True, False):
        with pytest.raises(ModelUnavailable) as error:
            model_loader.locate(str(tmp_path), with_weights=weights)
        assert str(error.value) == (
            f"{tmp_path}: its weights are pickles ({name}), which can run arbitrary code when they are read; "
            "save them as *.safetensors"
        )


@pytest.mark.parametrize("name", ["model.bin", "../model.safetensors", "/model.safetensors", "model.safetensors.pkl"])
def test_an_index_that_names_other_files_is_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelUnavailable) as caught:
        model_loader.locate(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}: model.safetensors.index.json names {name!r}, which is not a *.safetensors file "
        "in the same folder; other files are not loaded"
    )


def test_an_invalid_weight_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(ModelUnavailable, match=r"\.index\.json is not a valid index of weights"):
        model_loader.locate(str(tmp_path))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailable) as error:
        model_loader.locate(str(tmp_path))
    assert str(error.value) == f"{tmp_path}: has no *.safetensors weights, the only supported format"


@pytest.mark.slow
def test_a_pickle_is_not_read_even_alone_nor_beside_safetensors(folder: str, tmp_path: Path) -> None:
    bait, safe = tmp_path / "read", Path(folder) / "model.safetensors"
    for file in Path(folder).iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % str(bait).encode())
    with pytest.raises(ModelUnavailable, match=f"^{tmp_path}: cannot be loaded: .*safetensors"):
        model_loader.load(str(tmp_path), device="cpu", weights="auto")
    (tmp_path / "model.safetensors").write_bytes(safe.read_bytes())
    assert model_loader.locate(str(tmp_path)) == str(tmp_path)
    model_loader.load(str(tmp_path), device="cpu", weights="auto")
    assert not bait.exists()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"])
def test_python_that_a_model_brings_runs_only_where_the_setting_says_so(
    folder: str, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    model, ran = tmp_path / f"model_{part.lower()}", tmp_path / "ran"
    shutil.copytree(folder, model)
    (model / "own.py").write_text(
        f"from pathlib import Path\nPath({str(ran)!r}).touch()\n"
        "from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast\n"
        "class OwnConfig(LlamaConfig): model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM): config_class = OwnConfig\n"
        "class OwnTokenizer(PreTrainedTokenizerFast): pass\n"
    )
    if part == "AutoTokenizer":
        path, change = model / "tokenizer_config.json", {"tokenizer_class": "OwnTokenizer"}
        change |= {"auto_map": {part: [None, "own.OwnTokenizer"]}}  # type: ignore[dict-item]
    else:
        path, change = model / "config.json", {"model_type": "own", "architectures": ["OwnModel"]}  # type: ignore[dict-item]
        change |= {"auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}}  # type: ignore[dict-item]
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused = (
        f"{model}: needs its own Python code, which is not run by default; "
        "read that code, then set trust_remote_code: true"
    )
    if part == "AutoConfig":
        with pytest.raises(ModelUnavailable) as error:
            model_loader.config_of(str(model))
        assert str(error.value) == refused
    try:
        model_loader.load(str(model), device="cpu", weights="auto")
    except ModelUnavailable as error:
        assert str(error) == refused  # noqa: PT017 (a tokenizer of a known class is loaded without it)
    assert not ran.exists()
    model_loader.load(str(model), device="cpu", weights="auto", trust_remote_code=True)
    assert ran.exists()


@pytest.mark.slow
def test_without_quantization_the_weights_are_loaded_in_the_compute_dtype(folder: str) -> None:
    loaded = model_loader.load(folder, device="cpu", weights="auto")
    assert loaded.weights == loaded.compute_dtype
    assert loaded.compute_dtype in ("bf16", "fp32")
    assert loaded.model.dtype == {"bf16": torch.bfloat16, "fp32": torch.float32}[loaded.compute_dtype]
    assert loaded.stored_bytes == pytest.approx(sum(p.nbytes for p in loaded.model.parameters()), rel=0.01)
    assert loaded.load_s > 0


@pytest.mark.slow
def test_in_4_bits_every_linear_layer_but_the_head_is_nf4(folder: str) -> None:
    from bitsandbytes.nn import Linear4bit

    loaded = model_loader.load(folder, device="cpu", weights="nf4")
    found = linears(loaded.model)
    assert not isinstance(found.pop("lm_head"), Linear4bit)
    assert len(found) == 14
    assert {type(module) for module in found.values()} == {Linear4bit}
    assert {module.weight.quant_state.quant_type for module in found.values()} == {"nf4"}
    assert loaded.weights == "nf4"


@pytest.mark.slow
def test_decoding_the_weights_once_changes_no_value(folder: str) -> None:
    from bitsandbytes.functional import dequantize_4bit

    model = model_loader.load(folder, device="cpu", weights="nf4").model
    wanted = {
        name: dequantize_4bit(module.weight.data, module.weight.quant_state)
        for name, module in linears(model).items()
        if name != "lm_head"
    }
    weight_cache.dequantize(model)
    found = linears(model)
    assert all(type(module) is torch.nn.Linear for module in found.values())
    assert all(torch.equal(found[name].weight, weight) for name, weight in wanted.items())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_packed_for_the_cpu_keep_the_logits_and_the_memory(dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bf16 that oneDNN would use")
    model = tiny_model.model(attention_bias=True, tie_word_embeddings=True).to(dtype)
    ids, memory_mb = torch.arange(3, 40)[None], footprint.stored_bytes(model) / 1e6
    with torch.inference_mode():
        wanted = model(ids).logits
        assert cpu_weights.prepack(model) == 15
        found = model(ids).logits
    assert (found - wanted).norm() <= (1e-5 if dtype == torch.float32 else 2e-2) * wanted.norm()
    tied_mb = model.model.embed_tokens.weight.nbytes / 1e6  # the head has its own copy now
    found_mb = (footprint.stored_bytes(model) + cpu_weights.packed_bytes(model)) / 1e6
    assert found_mb == pytest.approx(memory_mb + tied_mb)


def test_a_layer_that_cannot_be_laid_out_stays_as_it_is() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 8).double(), torch.nn.Linear(8, 8).half())
    assert cpu_weights.prepack(model) == 0
    assert all(type(layer) is torch.nn.Linear for layer in model)


@pytest.mark.slow
def test_four_bit_weights_can_be_kept_as_they_are(folder: str) -> None:
    info = make_replica(spec(folder, "off")).info()
    assert info.weights in ("nf4", "nf4 (5 norms fused)")
    assert info.memory_mb < make_replica(spec(folder)).info().memory_mb


@pytest.mark.slow
def test_a_replica_says_what_it_holds(folder: str) -> None:
    replica = make_replica(spec(folder, "on"))
    info = replica.info()
    assert info.weights == make_replica(spec(folder, "auto")).info().weights
    assert (info.engine, info.model, info.device) == ("hf", folder, "cpu")
    assert info.weights.startswith(f"nf4 (dequantized to {info.compute_dtype}, prepacked")
    assert info.decoding == ("pages; compiled kernels" if info.steady else "slots, prompts shared; torch alone")
    assert info.rows_mb > 0
    assert info.max_context_tokens == tiny_model.CONTEXT_TOKENS
    assert 1 <= info.rows <= MOST_ROWS["cpu"]
    assert info.versions.keys() >= {"torch", "transformers", "bitsandbytes"}
    template = model_loader.chat_template_sha256(tiny_model.tokenizer())
    assert info.chat_template_sha256 == template
    assert len(template or "") == 64
    replica.submit(Request("0/t/0/0", 1, Sampling(max_new_tokens=4, do_sample=False), text="abc"))
    answers = []
    while replica.busy():
        answers += replica.step()
    assert [answer.job_id for answer in answers] == ["0/t/0/0"]


def test_a_model_that_was_not_quantized_is_found_out() -> None:
    with pytest.raises(DeviceError) as error:
        model_loader.check_placement(tiny_model.model(), "cpu", "nf4", sharded=False)
    assert str(error.value) == (
        "load_in_4bit is true but model.layers.0.self_attn.q_proj is not quantized; "
        "set load_in_4bit: false for this model"
    )


@pytest.mark.parametrize(("sharded", "place"), [(False, "cuda:0"), (True, "a GPU")])
def test_a_model_on_the_wrong_device_is_found_out(sharded: bool, place: str) -> None:
    with pytest.raises(DeviceError) as error:
        model_loader.check_placement(tiny_model.model(), "cuda:0", "auto", sharded=sharded)
    assert str(error.value) == (
        f"model.embed_tokens.weight landed on cpu, not on {place}; is another program using it?"
    )


def test_a_parameter_without_data_is_found_out() -> None:
    model = tiny_model.model()
    model.model.norm.to("meta")
    with pytest.raises(DeviceError) as error:
        model_loader.check_placement(model, "cpu", "auto", sharded=False)
    assert str(error.value) == "model.norm.weight landed on meta, not on cpu; is another program using it?"


@pytest.mark.slow
def test_a_folder_whose_weights_are_missing_cannot_be_loaded(folder: str, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((Path(folder) / name).read_bytes())
    with pytest.raises(ModelUnavailable, match=f"^{tmp_path}: cannot be loaded: .*model.safetensors"):
        model_loader.load(str(tmp_path), device="cpu", weights="auto")


@pytest.mark.slow
def test_damaged_weights_cannot_be_loaded(folder: str, tmp_path: Path) -> None:
    for file in Path(folder).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 4096 if file.suffix == ".safetensors" else None])
    with pytest.raises(ModelUnavailable, match=f"^{tmp_path}: cannot be loaded: Error while deserializing header"):
        model_loader.load(str(tmp_path), device="cpu", weights="auto")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_named(folder: str) -> None:
    with pytest.raises(DeviceError) as error:
        model_loader.load(folder, device="cuda:0", weights="nf4")
    assert str(error.value) == ("cuda:0: torch found no CUDA device; set device: cpu or use --config config/smoke.yaml")


@pytest.mark.slow
def test_rows_that_do_not_fit_are_named_with_their_remedy(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's error on a CPU with limited address space, raised after the model itself has been loaded."""
    from swarmeval.engine import decoder_choice

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(decoder_choice, "fitted", full)
    with pytest.raises(DeviceError, match=r"^no memory for \d+ rows x .* GB; lower replica\.rows or max_new_tokens$"):
        make_replica(spec(folder))


def test_cudnn_attention_is_not_used_on_a_gpu() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        model_loader.choose_attention()
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
