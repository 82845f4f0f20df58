"""A server is probed before it gets work, requests follow the settings, and the key is shown nowhere."""

from collections.abc import Callable

import pytest

from swarmeval.errors import ConfigError
from swarmeval.requests import Message, Refusal, Reply, Request, Sampling
from swarmeval.workers.endpoint.body import RequestFormat
from swarmeval.workers.endpoint.client import Key
from swarmeval.workers.endpoint.fleet import EndpointWorker
from tests.support.endpoint_worker import answers_of, endpoint_options, refused, started, with_server
from tests.support.faulty_server import Act, FaultyServer
from tests.support.fleet_contract import collect, requests


def test_facts_that_a_server_reports_are_recorded() -> None:
    info = started(lambda server: None)
    assert (info.engine, info.model, info.rows, info.max_context_tokens) == ("endpoint", "tiny", 4, 99)
    assert (info.versions, info.takes_chat, info.chat_template_sha256) == ({"vllm": "0.0.1"}, True, None)
    assert info.decoding == "vllm 0.0.1; serves tiny; output tokens: as reported"


def without_chat(server: FaultyServer) -> None:
    server.chat = False


def test_a_server_without_chat_completes_and_one_with_chat_chats() -> None:
    assert not started(without_chat).takes_chat
    chats = {"chat": Request("", 0, Sampling(8), messages=(Message("user", "Say hello."),))}
    assert refused(without_chat, modes=chats).startswith("does not know this model or path (HTTP 404: Not Found)")


def test_a_server_may_list_no_models_but_not_only_others() -> None:
    def lists(act: Act) -> Callable[[FaultyServer], None]:
        return lambda server: setattr(server, "models", act)

    for act in (
        Act(status=404, content={}),
        Act(status=500, content={}),
        Act(content=b"<html>"),
        Act(content={"data": []}),
    ):
        assert started(lists(act)).takes_chat
    rows = [{"id": name} for name in ("tiny-chat", "large", "a", "b", "c", "d")]
    assert refused(lists(Act(content={"data": rows}))) == (
        "serves 'tiny-chat' and 5 more, but not model_id 'tiny'; set model_id to a served name"
    )
    assert refused(lists(Act(status=403, content={"error": "go away"}))).startswith(
        "requires a key (HTTP 403: go away)"
    )


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        (
            "top_k",
            "endpoint.dialect: plain sends neither top_k nor repetition_penalty "
            "(and requires top_k: 0 and repetition_penalty: 1.0)",
        ),
        ("max_tokens", "endpoint.dialect: openai sends max_completion_tokens"),
        ("seed", "endpoint.body: {seed: null} leaves it out"),
    ],
)  # fmt: skip
def test_a_field_unknown_to_a_server_is_named_with_its_remedy_at_the_start(field: str, remedy: str) -> None:
    reason = refused(lambda server: setattr(server, "refused_field", field))
    assert reason == f"rejects {field} (HTTP 400: Unrecognized request argument supplied: {field}); {remedy}"


def test_a_server_that_takes_no_suffix_is_refused_if_tasks_have_gaps() -> None:
    def no_suffix(server: FaultyServer) -> None:
        server.refused_field = "suffix"

    completes = {"completion": Request("", 0, Sampling(8), text="Hello,")}
    fills = {"completion": Request("", 0, Sampling(8), text="Hello,", suffix="!")}
    assert started(no_suffix, modes=completes).fills_gaps is False
    assert refused(no_suffix, modes=fills) == (
        "rejects suffix (HTTP 400: Unrecognized request argument supplied: suffix); "
        "this benchmark has gaps to fill; prompt_mode: chat asks for them in words"
    )
    assert started(lambda server: None, modes=fills).fills_gaps
    chats = {"chat": Request("", 0, Sampling(8), messages=(Message("user", "Say hello."),))}
    assert not started(no_suffix, modes=chats | fills).fills_gaps  # it chats


def test_removed_fields_are_not_sent_and_added_fields_are() -> None:
    asking = RequestFormat("tiny", "vllm", {"seed": None, "reasoning_effort": "low"})
    _, server = answers_of(request_format=asking)
    assert "seed" not in server.requests[0]
    assert server.requests[0]["reasoning_effort"] == "low"


# Several answers to one prompt in one request.


def test_jobs_that_differ_in_their_seeds_share_a_request() -> None:
    answers, server = answers_of(count=5, combine_samples=True, concurrency=3)
    assert [body["n"] for body in server.requests] == [3, 2]
    assert sorted(answer.job_id for answer in answers) == [f"0/T/{k}/0" for k in range(5)]
    assert sum(answer.output_tokens for answer in answers if isinstance(answer, Reply)) == 50


def test_missing_answers_of_a_shared_request_are_retried_with_another_seed() -> None:
    answers, server = answers_of(Act("half"), count=3, combine_samples=True, patience_s=5.0)
    assert [body["n"] for body in server.requests] == [3, 3]
    assert len({answer.job_id for answer in answers}) == 3


@pytest.mark.parametrize("how", ["it gives one", "it refuses"])
def test_a_server_limited_to_one_answer_gets_one_request_per_answer(how: str) -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.takes_n = False
        if how == "it refuses":
            server.refused_field = "n"
        for _ in range(2):
            answers = await collect(worker, requests(3))
            assert len({answer.job_id for answer in answers if isinstance(answer, Reply)}) == 3
        assert [body.get("n") for body in server.requests].count(3) == 1

    with_server(use, combine_samples=True)


def test_requests_carry_the_settings() -> None:
    _, server = answers_of()
    assert server.requests[0] == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "```python\ndef f():\n```"}],
        "max_tokens": 8, "temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0,
        "seed": 0, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip


# The key.


def test_the_key_is_sent_and_shown_nowhere() -> None:
    key = Key("SOME_KEY", "sk-planted")
    assert "planted" not in repr(key)
    assert "planted" not in repr(endpoint_options(key=key))

    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        with_key = [headers for headers in server.headers if headers.get("authorization") == "Bearer sk-planted"]
        assert len(with_key) == len([path for path in server.paths if path.startswith("/v1")]) == 2
        server.plan.extend(
            [
                Act("status", 400, content={"error": {"message": "Bearer sk-planted is not welcome"}}),
                Act(content="the key is sk-planted, is it not"),
            ]
        )
        for words in (
            "HTTP 400: Bearer (the key) is not welcome",
            "the answer contains the API key, so it was discarded",
        ):
            (answer,) = await collect(worker, requests(1))
            assert isinstance(answer, Refusal)
            assert answer.reason.endswith(words)
            assert not answer.retry
        server.key = "another"
        with pytest.raises(ConfigError) as caught:
            await collect(worker, requests(1))
        assert str(caught.value) == (
            f"{server.url}: rejects the key in SOME_KEY "
            "(HTTP 401: Incorrect API key provided: Bearer (the key)); set SOME_KEY to a valid key"
        )

    with_server(use, key=key)


def test_a_redirect_is_not_followed_with_the_key() -> None:
    def leads_on(server: FaultyServer) -> None:
        server.spare_probes = False
        server.plan.append(Act("status", 307, {"Location": "http://elsewhere/v1?sk-planted"}, {}))

    assert refused(leads_on, key=Key("SOME_KEY", "sk-planted")) == (
        "redirects to http://elsewhere/v1; use that URL in endpoint.urls"
    )


@pytest.mark.parametrize(("context", "known"), [(99.0, 99), ("99", 99), (10**30, 0), (-1, 0), (None, 0), ([], 0)])
def test_the_context_that_a_server_lists_is_read_in_any_form(context: object, known: int) -> None:
    listed = Act(content={"data": [{"id": "tiny", "max_model_len": context, "owned_by": ["x"]}]})
    assert started(lambda server: setattr(server, "models", listed)).max_context_tokens == known


def test_listed_model_names_show_no_key() -> None:
    key = Key("SOME_KEY", "sk-" + "A1b2C3d4" * 12)
    listed = Act(content={"data": [{"id": "x" * 20 + key.value}, {"id": "\ud83d"}]})
    reason = refused(lambda server: setattr(server, "models", listed), key=key)
    assert reason == f"serves '{'x' * 20}(the key)', '\ufffd', but not model_id 'tiny'; set model_id to a served name"
