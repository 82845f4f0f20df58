"""Server faults: requests are retried if another try can succeed, and a fault is never taken for an answer."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from swarmeval.errors import ConfigError, WorkerDied, WorkerGone
from swarmeval.requests import Refusal, Reply, Request
from swarmeval.workers.endpoint.fleet import EndpointWorker
from tests.support.endpoint_worker import answers_of, until, with_server
from tests.support.faulty_server import Act, FaultyServer
from tests.support.fleet_contract import collect, requests

OVERLOADED = Act("status", 429, {"Retry-After": "0.2"}, {"error": {"message": "slow down"}})
BROKEN = {
    "an error of the server": Act("status", 500, content={"error": "oh"}),
    "a gateway time-out": Act("status", 504, content=b"<html>bad gateway</html>"),
    "a connection that breaks": Act("reset"),
    "half a stream": Act("half"),
    "half an event": Act("garbage"),
    "no word of why it ended": Act("end"),
    "a page for people": Act("html"),
    "an error within the stream": Act("error_event", content={"error": {"message": "engine died", "code": 500}}),
    "an answer that was stopped": Act(headers={"finish_reason": "abort"}),
    "silence": Act("hang"),
}


@pytest.mark.parametrize("act", BROKEN.values(), ids=BROKEN)
def test_aborted_answers_are_retried_until_one_is_complete(act: Act) -> None:
    (answer,), server = answers_of(act, act, silence_s=0.15, patience_s=3.0)
    assert isinstance(answer, Reply)
    assert answer.text == "```python\ndef f():\n    return 0\n```"
    assert (answer.prompt_tokens, answer.output_tokens, answer.finish_reason) == (22, 10, "stop")
    assert len(server.requests) == 3
    assert answer.queue_s <= answer.ttft_s <= answer.latency_s


def test_a_request_that_keeps_failing_is_given_up_if_the_server_works() -> None:
    answers, server = answers_of(*[Act("half")] * 4)
    (answer,) = answers
    assert answer == Refusal("0/T/0/0", answer.reason, retry=True)  # type: ignore[union-attr]
    assert answer.reason.endswith("/v1: connection lost")
    assert len(server.requests) == 4


def test_a_server_that_fails_every_request_dies_and_refuses_none() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.always, server.spare_probes = Act("half"), False
        with pytest.raises(WorkerDied, match=r"connection lost, and no answer for 0.3 s$") as caught:
            await collect(worker, requests(3))
        assert not isinstance(caught.value, WorkerGone)  # the worker had received the requests
        assert not worker.running

    with_server(use)


def test_a_lost_server_is_awaited_then_dead_without_blaming_requests() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        await server.__aexit__()
        began = time.monotonic()
        with pytest.raises(WorkerGone, match=r": cannot connect \(.*\), and no answer for 0.3 s$"):
            await collect(worker, requests(9))
        assert time.monotonic() - began > 0.2
        with pytest.raises(WorkerDied):
            await worker.start()
        await server.__aenter__()
        await worker.start()
        assert len(await collect(worker, requests(9))) == 9

    with_server(use)


def test_a_server_that_was_never_reachable_is_not_awaited() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await server.__aexit__()
        with pytest.raises(WorkerDied, match=r"^endpoint:0: http://127.0.0.1:\d+/v1: cannot connect \(.*\)$"):
            await worker.start()
        await server.__aenter__()

    with_server(use, patience_s=1000.0)


def test_all_requests_pause_for_as_long_as_an_overloaded_server_asks() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.plan.append(OVERLOADED)
        began = time.monotonic()
        answers = await collect(worker, requests(4))
        assert all(isinstance(answer, Reply) for answer in answers)
        late = [answer for answer in answers if isinstance(answer, Reply) and answer.queue_s >= 0.2]
        assert len(late) >= 1
        assert 0.2 <= time.monotonic() - began < 2.0
        assert len(server.requests) == 5

    with_server(use, concurrency=2, patience_s=5.0)


def test_an_overload_longer_than_the_patience_of_a_run_ends_the_worker() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.plan.append(replace(OVERLOADED, headers={"Retry-After": "3600"}))
        with pytest.raises(WorkerDied, match="HTTP 429: slow down"):
            await collect(worker, requests(1))
        with pytest.raises(WorkerDied, match=r"asks for a pause of 3\d\d\d s \(Retry-After\)$"):
            await worker.start()
        assert len(server.requests) == 1

    with_server(use)


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (
            401,
            {"error": {"message": "no"}},
            "requires a key (HTTP 401: no); set SOME_KEY, or name its variable in endpoint.key_env",
        ),
        (
            402,
            {"message": "pay"},
            "the account has no credit left (HTTP 402: pay); fix this, then repeat the command to resume",
        ),
        (
            429,
            {"error": {"message": "over", "code": "insufficient_quota"}},
            "the account has no credit left (HTTP 429: over); fix this, then repeat the command to resume",
        ),
        (
            404,
            {"detail": "Not Found"},
            "does not know this model or path (HTTP 404: Not Found); fix model_id or endpoint.urls",
        ),
    ],
)  # fmt: skip
def test_an_error_that_every_request_would_get_ends_the_run_in_one_line(status: int, said: Any, message: str) -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.plan.append(Act("status", status, content=said))
        with pytest.raises(ConfigError) as caught:
            await collect(worker, requests(1))
        assert str(caught.value) == f"{server.url}: {message}"

    with_server(use)


def test_a_refused_request_keeps_the_servers_message_and_others_continue() -> None:
    too_long = Act("status", 400, content={"error": {"message": "the\x1b[31m prompt is\ntoo long"}})
    answers, server = answers_of(too_long, count=2, concurrency=1)
    bad, good = answers
    assert bad == Refusal("0/T/0/0", f"endpoint:0: {server.url}: HTTP 400: the [31m prompt is too long", retry=False)
    assert isinstance(good, Reply)


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
def test_the_finish_reason_is_kept(reason: str) -> None:
    (answer,), _ = answers_of(Act(headers={"finish_reason": reason}))
    assert isinstance(answer, Reply)
    assert answer.finish_reason == reason


def test_an_error_about_one_request_affects_only_that_request() -> None:
    exceeded = Act("error_event", content={"error": {"message": "context exceeded", "code": 400}})
    answers, server = answers_of(exceeded, count=2, concurrency=1)
    assert answers[0] == Refusal("0/T/0/0", f"endpoint:0: {server.url}: context exceeded", retry=False)
    assert isinstance(answers[1], Reply)
    assert len(server.requests) == 2


def test_an_answer_aborted_in_every_try_is_kept_with_its_reason() -> None:
    stopped = Act(headers={"finish_reason": "abort"})
    (answer,), server = answers_of(*[stopped] * 9)
    assert isinstance(answer, Reply)
    assert (answer.finish_reason, len(server.requests)) == ("abort", 4)
    (refusal,), _ = answers_of(stopped, single_try=True)
    assert isinstance(refusal, Refusal)
    assert refusal.reason.endswith("/v1: an answer ended with finish_reason 'abort'")


@pytest.mark.parametrize("reason", ["abort", "eos", "repetition"])
def test_no_finish_reason_makes_a_server_count_as_dead(reason: str) -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        server.always, server.spare_probes = Act(headers={"finish_reason": reason}), False
        await worker.start()
        answers = await collect(worker, requests(9))
        assert sum(isinstance(answer, Reply) for answer in answers) == 9
        assert worker.running

    with_server(use, patience_s=0.05, backoff_s=(0.1, 0.1))


def test_half_a_character_at_an_answers_end_is_replaced_and_noted() -> None:
    (answer,), _ = answers_of(Act(content="x = 1  # \ud83d"))
    assert isinstance(answer, Reply)
    assert (answer.text, answer.note) == ("x = 1  # \ufffd", "1 lone surrogate became U+FFFD")


def test_an_empty_answer_is_an_answer() -> None:
    (answer,), _ = answers_of(Act(content=""))
    assert isinstance(answer, Reply)
    assert (answer.text, answer.output_tokens) == ("", 10)
    assert answer.ttft_s == answer.latency_s


def test_a_server_that_does_not_stream_is_understood() -> None:
    (answer,), _ = answers_of(Act("whole"))
    assert isinstance(answer, Reply)
    assert (answer.text, answer.output_tokens, answer.ttft_s) == (
        "```python\ndef f():\n    return 0\n```", 10, answer.latency_s,
    )  # fmt: skip


def test_a_stop_string_ends_an_answer_even_if_the_server_ignores_it() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.always = Act("endless", content="def f():\n    return 1\n\nclass A: ")
        first = requests(1)[0]
        stopping = Request("j", 0, replace_stop(first), messages=first.messages)
        (answer,) = await collect(worker, [stopping])
        assert isinstance(answer, Reply)
        assert (answer.text, answer.finish_reason) == ("def f():\n    return 1\n", "stop")

    with_server(use)


def replace_stop(request: Request) -> Any:
    from msgspec.structs import replace as changed

    return changed(request.sampling, stop=("\nclass ", "\n```"))


def test_no_more_requests_than_allowed_are_sent_and_waiting_is_queue_time() -> None:
    answers, server = answers_of(count=12, concurrency=3, server={"piece_s": 0.01})
    assert server.most_in_flight == 3
    waits = sorted(answer.queue_s for answer in answers if isinstance(answer, Reply))
    assert len(waits) == 12
    assert waits[2] < 0.03 < waits[-1]


def test_tokens_count_as_pieces_where_unreported_and_the_manifest_says_so() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        server.counts = False
        info = await worker.start()
        assert info.decoding == "vllm 0.0.1; serves tiny; output tokens: counted as stream pieces (not reported)"
        (answer,) = await collect(worker, requests(1))
        assert isinstance(answer, Reply)
        assert (answer.prompt_tokens, answer.output_tokens) == (0, 7)

    with_server(use)


# Ends.


def test_an_abandoned_batch_closes_its_connections() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.always = Act("endless")
        asked = asyncio.create_task(collect(worker, requests(4)))
        await until(lambda: server.in_flight == 4)
        assert worker.progress.rows_in_use == 4
        asked.cancel()
        await until(lambda: not server.in_flight)
        assert worker.progress.rows_in_use == 0

    with_server(use, server={"piece_s": 0.01})


def test_draining_drops_requests_that_wait_for_a_retry() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        server.plan.append(replace(OVERLOADED, headers={"Retry-After": "25"}))
        asked = asyncio.create_task(collect(worker, requests(3)))
        await until(lambda: bool(server.requests) and worker.progress.waiting == 3)
        await worker.drain()
        assert await asked == []

    with_server(use, concurrency=1, patience_s=60.0)


def test_an_internal_error_keeps_its_type() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        with pytest.raises(UnicodeEncodeError):
            await collect(worker, [Request("j", 0, requests(1)[0].sampling, text="\ud800")])

    with_server(use)
