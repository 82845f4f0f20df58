"""Recorded and replayed steps give the results of plain decoding. Covers CUDA graphs except CUDA itself."""

import weakref
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from swarmeval.engine import decoder_choice
from swarmeval.engine.graphs import Graphs
from swarmeval.engine.sampler import Choice, Sampler
from swarmeval.engine.separate import SeparateDecoder
from swarmeval.engine.slots import SlotDecoder
from swarmeval.engine.steps import BLOCK, Eager, Shape
from tests.support import tiny_model
from tests.support.decoder_comparison import PROMPTS, ROWS, admit, close, same_all_the_way
from tests.support.graph_recorder import Scarce, Small, Stale, Tape, broken_capture, host_waits, recorded, refusing
from tests.support.tiny_engine import WARM, engine, requests, texts

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = tiny_model.model()


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), rows=st.sampled_from([ROWS, 11, 16]))
def test_replayed_rows_may_join_and_leave_in_any_order(seed: int, rows: int) -> None:
    tape = Tape()
    assert same_all_the_way(MODEL, lambda _: recorded(tape, rows), seed, steps=8)


def test_replays_stand_in_for_steps() -> None:
    tape = Tape()
    assert same_all_the_way(MODEL, lambda rows: recorded(tape, rows), seed=3, steps=6)
    assert tape.recorded < tape.replayed


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_rounded_shapes_need_no_recording(seed: int) -> None:
    assert same_all_the_way(MODEL, lambda rows: SlotDecoder(MODEL, rows, share=False, step=Eager()), seed, steps=8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), tiny_model.FULL_ATTENTION)
def test_every_family_with_full_attention_can_be_recorded(name: str, changes: dict[str, Any]) -> None:
    model, tape = tiny_model.family(name, **changes), Tape()
    assert (
        decoder_choice.fitted(model, tiny_model.budget(model, 4), None, begin=tape.begin).name == "slots, CUDA graphs"
    )
    assert same_all_the_way(model, lambda rows: recorded(tape, rows, model), seed=4, steps=6)


@pytest.mark.parametrize(
    ("name", "changes"), [("Gemma2", {"head_dim": 32, "sliding_window": 8}), ("Mistral", {"sliding_window": 8})]
)
def test_models_that_slots_cannot_serve_are_not_recorded(name: str, changes: dict[str, Any]) -> None:
    model, tape = tiny_model.family(name, **changes), Tape()
    assert decoder_choice.fitted(model, tiny_model.budget(model, 4), None, begin=tape.begin).name == "one by one"
    assert tape.begun == 0


def test_replays_that_give_other_logits_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    found = decoder_choice.fitted(MODEL, tiny_model.budget(MODEL, 4), None, begin=Stale().begin)
    assert found.name == "slots, prompts shared"
    assert [message.split(" by ")[0] for message in caplog.messages] == [
        "no CUDA graphs: the logits of LlamaForCausalLM change"
    ]


@torch.inference_mode()
def test_if_recording_fails_steps_run_eagerly_after_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    failing = refusing(RuntimeError("operation not permitted when stream is capturing\nand more"))
    assert same_all_the_way(MODEL, lambda rows: SlotDecoder(MODEL, rows, False, Graphs(failing)), seed=5, steps=4)
    reason = "RuntimeError: operation not permitted when stream is capturing"
    assert caplog.messages == [f"no CUDA graphs, steps run eagerly: {reason}"]
    assert (
        decoder_choice.fitted(MODEL, tiny_model.budget(MODEL, 4), None, begin=failing).name == "slots, prompts shared"
    )


@torch.inference_mode()
def test_out_of_memory_while_recording_does_not_disable_recording() -> None:
    graphs = Graphs(refusing(torch.OutOfMemoryError("made up")))
    decoder = SlotDecoder(MODEL, 2, False, graphs)
    admit(decoder, [PROMPTS[0]])
    with pytest.raises(torch.OutOfMemoryError):
        decoder.decode([5])
    assert graphs.fault is None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("made up"), broken_capture()])
def test_a_lack_of_memory_for_one_more_recording_drops_the_others(error: Exception) -> None:
    tape = Small(2, error)
    graphs = Graphs(tape.begin)
    assert same_all_the_way(MODEL, lambda rows: SlotDecoder(MODEL, rows, False, graphs), seed=6, steps=8)
    assert graphs.fault is None
    assert tape.begun > 1
    assert tape.replayed > 0


def test_out_of_memory_drops_recordings_and_replies_stay_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wanted, tape = requests(6, WARM), Scarce(2, broken_capture())
    undisturbed = texts(engine(8, decoder=SeparateDecoder(MODEL)), wanted)
    assert texts(engine(8, decoder=recorded(tape)), wanted) == undisturbed
    assert [message.split(" rows")[0] for message in caplog.messages] == [
        "out of memory: reduced to 4",
        "out of memory: reduced to 2",
    ]
    assert tape.begun == 3


@pytest.mark.parametrize(
    ("rows", "length", "wanted"),
    [(1, 1, (1, 128)), (3, 128, (4, 128)), (5, 129, (8, 256)), (33, 300, (50, 384)), (50, 1, (50, 128))],
)
def test_shapes_are_rounded_to_few_different_ones(rows: int, length: int, wanted: tuple[int, int]) -> None:
    assert Shape(rows, length).rounded(most_rows=50) == Shape(*wanted)


@torch.inference_mode()
def test_a_shape_is_recorded_once_and_the_least_recently_used_is_dropped() -> None:
    tape = Tape()
    decoder = recorded(tape, most=2)
    admit(decoder, [PROMPTS[0]] * 4)
    counts = []
    for rows in (4, 4, 2, 1, 2, 4):
        for _ in range(rows - len(decoder.rows)):
            admit(decoder, [PROMPTS[0]])
        while len(decoder.rows) > rows:
            decoder.evict(0)
        decoder.decode([5] * rows)
        counts.append(tape.recorded)
    assert counts == [1, 1, 2, 3, 3, 4]  # last: the recording for four rows was dropped for that of one
    assert tape.begun == 1


@torch.inference_mode()
def test_recordings_are_dropped_before_their_memory_moves() -> None:
    tape = Tape()
    decoder = recorded(tape)
    admit(decoder, [PROMPTS[2]])
    decoder.decode([5])
    admit(decoder, [PROMPTS[3]])  # two slots, longer than a block
    decoder.decode([5, 6])
    assert (tape.begun, tape.recorded) == (2, 2)
    memory = weakref.ref(decoder.layers[0].keys)
    decoder.clear()
    assert memory() is None
    admit(decoder, [PROMPTS[2]])
    decoder.decode([5])
    assert (tape.begun, tape.recorded) == (3, 3)


@torch.inference_mode()
def test_padding_rows_are_never_read() -> None:
    decoder, separate = recorded(Tape()), SeparateDecoder(MODEL)
    for each in (decoder, separate):
        admit(each, [PROMPTS[1]] * 5)
    assert close(decoder.decode([5] * 5), separate.decode([5] * 5))
    for layer in decoder.layers:
        layer.keys[5:, :, 0] = layer.values[5:, :, 0] = float("nan")  # where filler rows 5, 6 and 7 wrote
    admit(decoder, [PROMPTS[0]] * 2)
    admit(separate, [PROMPTS[0]] * 2)
    assert close(decoder.decode([7] * 7), separate.decode([7] * 7))


@torch.inference_mode()
def test_the_logits_of_a_step_outlive_the_next() -> None:
    decoder = recorded(Tape())
    admit(decoder, [PROMPTS[0]])
    first = decoder.decode([5])
    copy = first.clone()
    decoder.decode([9])
    assert torch.equal(first, copy)


@torch.inference_mode()
def test_slots_are_allocated_for_the_rows_in_use() -> None:
    """Otherwise half the rows would need as much memory."""
    decoder = SlotDecoder(MODEL, 64, share=False)
    admit(decoder, [PROMPTS[0]] * 20)
    assert decoder.layers[0].keys.shape[0] == 32
    decoder.clear()
    admit(decoder, [PROMPTS[0]] * 3)
    assert decoder.layers[0].keys.shape[::2] == (4, BLOCK)


@pytest.mark.parametrize("top_k", [40, 0])
@pytest.mark.parametrize("share", [True, False])
@torch.inference_mode()
def test_a_step_reads_only_its_tokens_from_the_device(share: bool, top_k: int) -> None:
    decoder = SlotDecoder(MODEL, ROWS, share=True) if share else SlotDecoder(MODEL, ROWS, False, Eager())
    sampler = Sampler(ROWS, MODEL.device)
    logits = admit(decoder, [PROMPTS[2]] * 3 + [PROMPTS[1]])
    for prompt in [PROMPTS[2]] * 3 + [PROMPTS[1]]:
        sampler.admit(prompt)
    groups = [(row, Choice(row != 1, 1.0, top_k, 0.5, 1.1)) for row in range(4)]
    tokens, _ = sampler.choose(logits, 0, groups, range(4), [0.5] * 4)

    def step() -> None:
        nonlocal tokens
        sampler.append(tokens)
        tokens, _ = sampler.choose(decoder.decode(tokens), 0, groups, range(4), [0.5] * 4)

    for _ in range(3):
        assert host_waits(step) == []


def test_the_tape_is_as_strict_as_cuda_graphs() -> None:
    """It freezes decisions made in Python while recording, as CUDA graphs do."""
    memory, out, factor = torch.ones(3), torch.zeros(3), 2
    replay = Tape().begin()(lambda: double(memory, out, factor))
    memory.fill_(5.0)
    factor = 7
    replay()
    assert out.tolist() == [10.0] * 3
    assert host_waits(lambda: bool(memory[0] > 1)) == ["aten._local_scalar_dense.default"]


def double(memory: Tensor, out: Tensor, factor: int) -> None:
    out.copy_(memory * factor)
