"""A fleet of one real vLLM server, if vLLM is installed (docs/vllm.md): the contract, and what is specific to vLLM."""

from collections.abc import Iterator

import pytest

from swarmeval.requests import Reply, Request, Sampling
from swarmeval.runs.prompts import STOPS
from swarmeval.workers.endpoint.client import Key
from swarmeval.workers.endpoint.fleet import EndpointFleet
from swarmeval.workers.protocol import Worker
from tests.support.endpoint_worker import endpoint_options
from tests.support.fleet_contract import FleetContract, collect, requests
from tests.support.vllm_server import needs_vllm, vllm_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_vllm]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    import model_loader

    with vllm_server(model_loader.folder_of("embedded"), "--dtype", "bfloat16") as url:
        yield url


class TestVllmServer(FleetContract):
    streams = False
    limit_s = 300.0
    combine_samples = False

    @pytest.fixture(autouse=True)
    def _served(self, url: str) -> None:
        self.url = url

    def fleet(self, slow: bool = False) -> EndpointFleet:
        told = endpoint_options(
            self.rows, 60.0, 60.0, start_s=60.0, combine_samples=self.combine_samples, key=Key("A_KEY", "sk-planted")
        )
        return EndpointFleet([self.url], told)

    def test_a_killed_worker_ends_its_batches_and_starts_again(self) -> None:
        pytest.skip("it would take its server a minute; tests/workers/endpoint/test_contract.py kills a small one")

    def test_stop_strings_beyond_the_servers_limit_end_a_completion(self) -> None:
        async def use(worker: Worker) -> None:
            many = Sampling(48, do_sample=False, stop=(*STOPS, "\n"))
            (answer,) = await collect(worker, [Request("j", 1, many, text="def add(a, b):\n    return")])
            assert isinstance(answer, Reply)
            assert "\n" not in answer.text
            assert answer.finish_reason == "stop"
            assert answer.output_tokens >= 2

        self.with_worker(use)


class TestVllmServerAskedForSeveral(TestVllmServer):
    combine_samples = True

    def test_the_seed_takes_effect(self) -> None:
        async def use(worker: Worker) -> None:
            answers = [answer for answer in await collect(worker, requests(5)) if isinstance(answer, Reply)]
            assert len(answers) == 5
            assert all(answer.output_tokens <= 8 for answer in answers)
            assert len({answer.text for answer in answers}) > 1

        self.with_worker(use)
