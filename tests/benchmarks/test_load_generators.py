"""The comparison of two load generators in `benchmarks/load_generators.py`. No load generator runs here."""

import json

from benchmarks.load_generators import (
    GeneratorRound,
    TimedRequest,
    agreement,
    compared,
    scripted_prompts,
    timed_by_guidellm,
)
from benchmarks.witness import ObservedAnswer, ObservedTimes
from swarmeval.requests import Message, Piece, Reply, Request, Sampling
from swarmeval.serving.responses import DONE, ResponseWriter
from swarmeval.workers.protocol import Replica
from swarmeval.workers.replica_spec import Script
from swarmeval.workers.scripted import ScriptedReplica


def turn(*seconds: float, text: str = "x") -> GeneratorRound:
    """A round of requests that took half a second less than their generator reports."""
    timed = [TimedRequest(str(number), text, 3, ttft, ttft / 10, 2 * ttft) for number, ttft in enumerate(seconds)]
    return GeneratorRound(timed, [ObservedTimes(one.ttft_s - 0.5, one.tpot_s, one.latency_s - 0.5) for one in timed])


def test_medians_are_of_all_rounds_and_ratios_theirs_to_ours() -> None:
    found = compared("4 at once", [(turn(1.0, 2.0), turn(2.0, 4.0)), (turn(3.0, 4.0), turn(3.0, 4.0))])
    witness = {"ours": 2.0, "theirs": 3.0, "ratio": 1.5}
    assert found["ttft_s"] == {
        "ours": 2.5, "theirs": 3.5, "ratio": 1.4, "of_each_round": [2.0, 1.0], "witness": witness, "left": 1.4 / 1.5
    }  # fmt: skip
    assert found["tpot_s"]["left"] == 1.0


def test_requests_or_answers_that_differ_between_generators_are_named() -> None:
    same = {"ours": 2, "theirs": 2, "places_that_differ": 0, "prompts_of_one_alone": 0, "answers_that_differ": 0}
    assert agreement(turn(1.0, 2.0), turn(3.0, 4.0)) == same
    assert agreement(turn(1.0, 2.0), turn(3.0, 4.0, text="y")) == same | {"answers_that_differ": 2}
    swapped = turn(1.0, 2.0)
    assert agreement(swapped, GeneratorRound(swapped.timed[::-1], swapped.witnessed)) == same | {
        "places_that_differ": 2
    }
    assert agreement(turn(1.0, 2.0), turn(3.0)) == same | {"theirs": 1, "prompts_of_one_alone": 1}


def test_the_witness_times_text_but_not_roles_however_it_is_split() -> None:
    speech, piece = ResponseWriter("id", "m", True, 1, counting=True), Piece("a", '"x"', 1, 5)
    reply = Reply("a", '"x"y', 5, 3, 0.0, 0.0, 0.0, "stop")
    answer = ObservedAnswer(10.0)
    assert answer.take(speech.opening(0, piece), 11.0) is None
    said = speech.piece(0, piece.text, piece)
    cut = said.index(b"content") + 4
    assert answer.take(said[:cut], 12.0) is None
    assert answer.take(said[cut:], 13.0) is None
    assert answer.take(speech.piece(0, "y", reply) + speech.ending(0, reply), 15.0) is None
    assert answer.take(speech.tokens([reply]) + DONE, 16.0) == ObservedTimes(3.0, 1.0, 5.0)


def test_a_row_of_guidellms_report_is_read() -> None:
    content = [{"type": "text", "text": "say "}, {"type": "text", "text": "x"}]
    row = {
        "request_args": json.dumps({"body": {"messages": [{"role": "user", "content": content}]}}),
        "output": "x", "output_tokens": 3, "time_to_first_token_ms": 250.0, "inter_token_latency_ms": 500.0,
        "request_latency": 1.5,
    }  # fmt: skip
    assert timed_by_guidellm(row) == TimedRequest("say x", "x", 3, 0.25, 0.5, 1.5)


def test_a_scripted_worker_answers_each_prompt_with_64_tokens_in_64_pieces() -> None:
    replica: Replica = ScriptedReplica(Script(steps=64), "cpu:0", 0)
    [prompt] = scripted_prompts(1)
    replica.submit(Request("a", 63, Sampling(64), (Message("user", prompt),), stream=True))
    pieces: list[Piece] = []
    while not (answers := replica.step()):
        pieces += replica.pieces()
    assert len(pieces) == 63  # the last piece comes with the answer
    assert [answer.output_tokens for answer in answers if isinstance(answer, Reply)] == [64]
