"""Counts of speculative decoding, as vLLM's metrics and the pages of servers have them."""

import asyncio
from types import SimpleNamespace

from swarmeval.requests import Speculation
from swarmeval.scores.speculation import in_words, speculation
from swarmeval.workers.endpoint.fleet import EndpointWorker
from swarmeval.workers.speculation import of_metrics, of_page, plus, since
from tests.support.endpoint_worker import with_server
from tests.support.faulty_server import Act, FaultyServer
from tests.support.fleet_contract import collect, requests

LABELS = 'engine="0",model_name="tiny"'
SGLANG_PAGE = """sglang:generation_tokens_total{model_name="tiny"} 130.0
sglang:num_requests_total{model_name="tiny"} 2.0
sglang:spec_verify_calls_total{model_name="tiny"} 32.0
sglang:spec_accept_length{model_name="tiny"} 4.0
"""


def vllm_page(drafts: int, drafted: int, accepted: int) -> str:
    """The page of a vLLM server with two engines."""
    return f"""# TYPE vllm:spec_decode_num_drafts_total counter
vllm:spec_decode_num_drafts_total{{{LABELS}}} {drafts - 1}.0
vllm:spec_decode_num_drafts_created{{{LABELS}}} 1.78e+09
vllm:spec_decode_num_draft_tokens_total{{{LABELS}}} {drafted - 4}.0
vllm:spec_decode_num_accepted_tokens_total{{{LABELS}}} {accepted - 3}.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{{{LABELS},position="0"}} 9.0
vllm:spec_decode_num_drafts_total{{engine="1",model_name="tiny"}} 1.0
vllm:spec_decode_num_draft_tokens_total{{engine="1",model_name="tiny"}} 4.0
vllm:spec_decode_num_accepted_tokens_total{{engine="1",model_name="tiny"}} 3.0
vllm:kv_cache_usage_perc{{{LABELS}}} NaN
"""


def test_a_page_of_vllm_is_summed_over_its_engines() -> None:
    assert of_page(vllm_page(11, 44, 28)) == Speculation(11, 28, 44)


def test_a_page_of_sglang_has_no_count_of_drafts() -> None:
    assert of_page(SGLANG_PAGE) == Speculation(32, 96, None)


def test_a_page_without_speculation_has_no_counts() -> None:
    assert of_page("vllm:num_requests_running{} 3.0\nnot a page") is None
    assert of_page("") is None


def test_the_metrics_of_an_engine_are_those_of_its_page() -> None:
    names = {"num_drafts": 11, "num_accepted_tokens": 28, "num_draft_tokens": 44, "num_accepted_tokens_per_pos": 5}
    metrics = [SimpleNamespace(name=f"vllm:spec_decode_{name}", value=value) for name, value in names.items()]
    assert of_metrics(metrics) == Speculation(11, 28, 44)
    assert of_metrics(metrics[:1]) is None


def test_counts_add_up_over_workers_and_differ_between_readings() -> None:
    one, other = Speculation(10, 20, 40), Speculation(15, 35, 60)
    assert plus(one, other) == Speculation(25, 55, 100)
    assert (plus(None, one), plus(None, None)) == (one, None)
    assert plus(one, Speculation(1, 1, None)) == Speculation(11, 21, None)
    assert since(one, other) == Speculation(5, 15, 20)
    assert since(other, one) is None  # the server was restarted
    assert since(None, one) is None


def test_acceptance_is_a_share_of_the_drafted_tokens() -> None:
    figures = speculation(11, 28, 44)
    assert (figures["acceptance_rate"], figures["accepted_per_verification"]) == (28 / 44, 28 / 11)
    assert in_words({"speculation": figures}) == (
        "63.6 % of 44 drafted tokens accepted; 2.55 drafted tokens accepted per step"
    )
    assert "acceptance_rate" not in speculation(32, 96, None)
    assert in_words({"speculation": speculation(32, 96, None)}) == "3.00 drafted tokens accepted per step"
    assert in_words({}) == ""


def test_a_server_is_read_before_and_after_a_run() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        server.metrics = vllm_page(10, 40, 25)
        await worker.start()
        assert worker.progress.speculation is None
        await collect(worker, requests(2))
        server.metrics = vllm_page(30, 120, 65)
        await worker.stop()
        assert worker.progress.speculation == Speculation(20, 40, 80)
        await worker.start()
        server.metrics = vllm_page(31, 124, 66)
        await worker.stop()
        assert worker.progress.speculation == Speculation(21, 41, 84)
        assert server.paths.count("/metrics") == 4

    with_server(use)


def test_other_servers_are_not_asked_for_metrics() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        server.models = Act(content={"object": "list", "data": [{"id": "tiny", "owned_by": "someone"}]})
        server.metrics = vllm_page(10, 40, 25)
        await worker.start()
        await worker.stop()
        assert "/metrics" not in server.paths
        assert worker.progress.speculation is None

    with_server(use)


def test_a_server_without_metrics_has_no_counts() -> None:
    async def use(server: FaultyServer, worker: EndpointWorker) -> None:
        await worker.start()
        await asyncio.wait_for(worker.stop(), 5)
        assert worker.progress.speculation is None

    with_server(use)
