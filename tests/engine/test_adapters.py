"""LoRA adapters: rows with different ones decode in one batch, and each answer is the one that peft gives alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from swarmeval.engine import decoder_choice
from swarmeval.engine.adapters.lora import Adapters, attach
from swarmeval.engine.decoder import Decoder
from swarmeval.engine.graphs import Graphs
from swarmeval.engine.kernels import choice, native
from swarmeval.engine.kernels.portable import PortableKernels
from swarmeval.engine.kernels.ragged_attention import ReferenceAttention
from swarmeval.engine.paged import PagedDecoder
from swarmeval.engine.separate import SeparateDecoder
from swarmeval.engine.slots import SlotDecoder
from swarmeval.engine.weights import cpu_weights, fused, weight_cache
from swarmeval.requests import Refusal, Request, Sampling
from tests.support import lora, tiny_model
from tests.support.graph_recorder import Tape
from tests.support.tiny_engine import GREEDY, TOKENIZER, WARM, engine, finish, generated, texts

pytestmark = pytest.mark.usefixtures("one_thread")
PORTABLE = PortableKernels(ReferenceAttention(32), torch.float32, torch.device("cpu"))
PROMPTS = ("def f(x):\n    return", "def f(x):\n    y", "a" * 40)  # two begin alike
DECODERS: dict[str, Callable[[Any, int], Decoder]] = {
    "pages": lambda model, rows: PagedDecoder(
        model, native.load(torch.float32), rows, 16 * rows + 40, [2, 4, 16, 32, 48, 64], 512
    ),
    "pages of any device, recorded": lambda model, rows: PagedDecoder(
        model, PORTABLE, rows, 5 * rows + 16, [8, 32, 64], 512, step=Graphs(Tape().begin)
    ),
    "slots, prompts shared": lambda model, rows: SlotDecoder(model, rows, share=True),
    "slots, recorded": lambda model, rows: SlotDecoder(model, rows, share=False, step=Graphs(Tape().begin)),
    "one by one": lambda model, rows: SeparateDecoder(model),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("peft", reason="peft makes the adapters of these tests; install the extra `dev`")
    return lora.saved(tiny_model.model(), tmp_path_factory.mktemp("adapters"))


def asked(names: list[str], sampling: Sampling = GREEDY) -> list[Request]:
    """Every adapter gets every prompt, in turn."""
    return [
        Request(f"{name}/{number}", 7 * number, sampling, text=text, adapter=name)
        for number, text in enumerate(PROMPTS)
        for name in names
    ]


def by_peft(
    make: Callable[[], Any], folders: dict[str, Path], sampling: Sampling = GREEDY, tokenizer: Any = TOKENIZER
) -> dict[str, str]:
    """The answers of `generate` to all requests, with one adapter after the other; "" is the model itself."""
    models = {"": make()} | {name: lora.with_peft(make(), folder) for name, folder in folders.items()}
    return {one.job_id: generated(one, models[one.adapter], tokenizer) for one in asked([*models], sampling)}


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_each_row_of_a_batch_answers_as_peft_does(decoder: str, folders: dict[str, Path]) -> None:
    expected = by_peft(tiny_model.model, folders)
    model = tiny_model.model()
    adapters = attach(model, lora.read(folders), recorded="recorded" in decoder)
    made = engine(12, model, DECODERS[decoder](model, 13), compiled="any device" not in decoder, adapters=adapters)
    assert texts(made, asked(["", *folders])) == expected
    assert len(set(expected.values())) == len(expected)  # each adapter changes each answer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "changes"), [("Llama", {}), ("Qwen2", {}), ("Qwen3", {"head_dim": 32}), ("Phi3", {})]
)
def test_fused_and_prepacked_layers_keep_their_adapters(
    family: str, changes: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    def make() -> Any:
        return tiny_model.family(family, **changes)

    every = {"all": lora.save(make(), tmp_path / "all", **lora.EVERYTHING)}
    if family == "Llama":
        every |= {name: lora.save(make(), tmp_path / name, 2, **config) for name, config in lora.PARTS.items()}
    expected = by_peft(make, every)
    model = make()
    kernels = choice.native_kernels(model.dtype)
    assert kernels is not None
    assert min(fused.fuse(model, kernels).values()) > 0
    cpu_weights.prepack(model)
    assert texts(engine(12, model, adapters=attach(model, lora.read(every))), asked(["", *every])) == expected


@pytest.mark.slow
@pytest.mark.parametrize("unpacked", [False, True])
def test_nf4_weights_take_adapters_packed_and_unpacked(
    unpacked: bool, folders: dict[str, Path], tmp_path: Path
) -> None:
    tiny_model.save(tmp_path)

    def make() -> Any:
        model = lora.in_4_bits(tmp_path)
        if unpacked:
            weight_cache.dequantize(model)
        return model

    expected = by_peft(make, folders)
    model = make()
    made = engine(12, model, adapters=attach(model, lora.read(folders)))
    assert texts(made, asked(["", *folders])) == expected


@pytest.mark.slow
def test_samples_are_the_same_with_and_without_sharing(folders: dict[str, Path]) -> None:
    model = tiny_model.model()
    adapters = attach(model, lora.read(folders))
    batch = [
        replace(one, job_id=f"{one.job_id}/{agent}", seed=agent)
        for agent in range(4)
        for one in asked(["", *folders], WARM)
    ]
    answers = []
    for share in (True, False):
        decoder = DECODERS["pages"](model, 9)
        answers.append(texts(engine(8, model, decoder, share_answers=share, adapters=adapters), batch))
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_answers_known_for_one_adapter_are_computed_for_another(folders: dict[str, Path]) -> None:
    expected = by_peft(tiny_model.model, folders)
    model = tiny_model.model()
    made = engine(4, model, adapters=attach(model, lora.read(folders)))
    for one in [*asked(["", *folders]), *asked(["", *folders])]:  # one request at a time
        assert texts(made, [one]) == {one.job_id: expected[one.job_id]}


@pytest.mark.slow
def test_beam_search_uses_the_adapter_of_its_request(folders: dict[str, Path]) -> None:
    beams = Sampling(max_new_tokens=16, do_sample=False, num_beams=3)
    expected = by_peft(tiny_model.model, folders, beams)
    model = tiny_model.model()
    assert texts(engine(4, model, adapters=attach(model, lora.read(folders))), asked(["", *folders], beams)) == expected


@pytest.mark.slow
def test_decoders_are_checked_with_an_adapter(folders: dict[str, Path]) -> None:
    model = tiny_model.model()
    adapters = attach(model, lora.read(folders))
    calls = []
    model.model.register_forward_pre_hook(lambda _, __, named: calls.append(named["input_ids"].max()), with_kwargs=True)
    with adapters.everywhere(adapters.shifts["all"]):
        fault = decoder_choice.unsuited(model, lambda rows: SlotDecoder(model, rows))
    assert fault is None
    assert max(calls) < 288  # the model itself sees the ids of its vocabulary


def test_an_adapter_that_is_not_loaded_is_refused() -> None:
    made = engine(2, adapters=Adapters(["one", "two"], stride=288))
    made.submit(Request("j", 1, GREEDY, text="x", adapter="three"))
    assert finish(made) == [Refusal("j", "the adapter 'three' is not loaded; loaded adapters: one, two", retry=False)]
    plain = engine(2)
    plain.submit(Request("j", 1, GREEDY, text="x", adapter="three"))
    assert finish(plain) == [Refusal("j", "the adapter 'three' is not loaded; loaded adapters: none", retry=False)]


@pytest.mark.slow
def test_the_bundled_model_answers_as_peft_does(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft makes the adapters of these tests; install the extra `dev`")
    tokenizer, make = lora.bundled()
    few = Sampling(max_new_tokens=12, do_sample=False)
    every = {
        name: lora.save(make(), tmp_path / name, seed, spread=0.05, **config)
        for seed, (name, config) in enumerate({"qv": lora.QUERY_AND_VALUE, "all": lora.EVERYTHING}.items(), 1)
    }
    expected = by_peft(make, every, few, tokenizer)
    model = make()
    kernels = choice.native_kernels(model.dtype)
    assert kernels is not None
    assert fused.fuse(model, kernels) == {"norms": 61, "MLPs": 30, "attentions": 30}
    made = engine(12, model, adapters=attach(model, lora.read(every)), tokenizer=tokenizer)
    assert texts(made, asked(["", *every], few)) == expected
    assert len(set(expected.values())) > len(PROMPTS)
