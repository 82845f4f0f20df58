"""Thoughts of a server are kept beside the answer, in whatever form it sends them; budgets are passed on."""

from typing import Any

import pytest

from swarmeval.requests import Message, Request, Sampling, Thinking
from swarmeval.thinking import ANY
from swarmeval.workers.endpoint.body import Dialect, RequestFormat, body
from swarmeval.workers.endpoint.faults import ServerFault
from tests.support.event_streams import event, streamed

USAGE = {"prompt_tokens": 3, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}}


def thought(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


@pytest.mark.parametrize(
    "told",
    [
        [thought(reasoning_content="Hm"), thought(reasoning_content="."), event("x = 1", "stop")],
        [thought(reasoning="Hm"), thought(reasoning="."), event("x = 1", "stop")],
        [thought(reasoning_content="Hm.", reasoning="Hm."), event("x = 1", "stop")],  # one thought under two names
        [thought(content=[{"type": "thinking", "thinking": "Hm."}]), event("x = 1", "stop")],
        [
            thought(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]),
            event("x = 1", "stop"),
        ],
        [event("<think>\nHm."), event("\n</th"), event("ink>x = 1", "stop")],
        [event("Hm.\n</think>x = 1", "stop")],  # the server's template began the thought
        [{"choices": [{"message": {"reasoning_content": "Hm.", "content": "x = 1"}, "finish_reason": "stop"}]}],
    ],
)
def test_a_thought_is_kept_beside_the_answer(told: list[dict[str, Any]]) -> None:
    (answer,) = streamed(*told).answers
    assert answer.final_texts(ANY) == ("x = 1", "Hm.", "")


def test_thoughts_stay_in_the_text_if_they_are_not_to_be_separated() -> None:
    (answer,) = streamed(event("<think>Hm.</think>x", "stop")).answers
    assert answer.final_texts(None) == ("<think>Hm.</think>x", "", "")
    assert answer.final_texts(Thinking("<a>", "</a>")) == ("<think>Hm.</think>x", "", "")


def test_a_thought_that_the_prefill_began_ends_at_its_end_marker() -> None:
    (answer,) = streamed(event("so.</think>x", "stop")).answers
    assert answer.final_texts(ANY, "<think>\nOkay, ") == ("x", "so.", "")
    (answer,) = streamed(event("so", "length")).answers
    assert answer.final_texts(ANY, "<think>\nOkay, ") == ("", "so", "")


def test_an_endless_thought_is_a_fault_of_the_server() -> None:
    piece = thought(reasoning_content="Hm. " * (1 << 18))
    with pytest.raises(ServerFault) as caught:
        streamed(*[piece] * 17, event("x", "stop"))
    assert str(caught.value) == "sent an answer of more than 16 million characters"


@pytest.mark.parametrize("details", [{"reasoning_tokens": "5"}, {"reasoning_tokens": 5.0}, {"reasoning_tokens": 5}])
def test_the_servers_count_of_thought_tokens_is_used(details: dict[str, Any]) -> None:
    told = [event("x", "stop"), {"choices": [], "usage": USAGE | {"completion_tokens_details": details}}]
    assert streamed(*told).answers[0].thought_tokens == 5


@pytest.mark.parametrize("details", [None, [], {}, {"reasoning_tokens": -1}, {"reasoning_tokens": "many"}])
def test_an_unusual_count_is_no_count(details: Any) -> None:
    told = [event("x", "stop"), {"choices": [], "usage": USAGE | {"completion_tokens_details": details}}]
    (answer,) = streamed(*told).answers
    assert (answer.thought_tokens, answer.tokens) == (None, 9)


@pytest.mark.parametrize(("count", "of_thought", "of_nothing"), [(5, 5, 5), (0, None, 0), (None, None, 0)])
def test_a_thought_of_no_tokens_was_not_counted(count: int | None, of_thought: int | None, of_nothing: int) -> None:
    told = [
        event("x", "stop"),
        {"choices": [], "usage": USAGE | {"completion_tokens_details": {"reasoning_tokens": count}}},
    ]
    (answer,) = streamed(*told).answers
    assert (answer.tokens_of("Hm."), answer.tokens_of("")) == (of_thought, of_nothing)


def counted(content: str, tokens: int, reason: str | None = None) -> dict[str, Any]:
    return event(content, reason, usage={"prompt_tokens": 3, "completion_tokens": tokens})


def test_counts_along_the_stream_say_what_the_first_tokens_completed() -> None:
    told = [counted("ab", 1), counted("c", 2), counted("defg", 5), counted("", 6), counted("h", 7, "stop")]
    (answer,) = streamed(*told).answers
    assert answer.marks(0) == ((1, 2), (2, 3), (4, 3))
    assert answer.marks(3) == ((1, 0), (2, 0), (4, 0))  # "abc" was a thought


def test_a_server_that_counts_at_the_end_only_says_nothing_about_prefixes() -> None:
    (answer,) = streamed(event("ab"), event("c"), counted("d", 99, "stop")).answers
    assert (answer.marks(0), answer.tokens) == ((), 99)


def chat(**changes: Any) -> Request:
    return Request("", 1, Sampling(8), messages=(Message("user", "hi"),), **changes)


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp"])
def test_template_prefill_and_budget_have_their_own_fields(dialect: Dialect) -> None:
    format_ = RequestFormat("tiny", dialect, {}, "{{ messages }}")
    sent = body(format_, [chat(template_kwargs={"think": False}, prefill="Sure: ", thinking=Thinking("", "", 99))])
    assert sent["messages"][-1] == {"role": "assistant", "content": "Sure: "}
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)
    assert (sent["chat_template_kwargs"], sent["chat_template"]) == ({"think": False}, "{{ messages }}")
    assert sent["thinking_token_budget"] == 99


def test_none_of_these_fields_is_sent_unless_it_is_set() -> None:
    sent = body(RequestFormat("tiny", "vllm", {}), [chat(thinking=ANY)])
    assert not {name for name in sent if "template" in name or "prompt" in name or "final" in name or "think" in name}
    raw = Request("", 1, Sampling(8), text="def", thinking=ANY)
    assert "chat_template" not in body(RequestFormat("tiny", "vllm", {}, "{{ messages }}"), [raw])
