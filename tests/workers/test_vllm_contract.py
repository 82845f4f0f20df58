"""Workers with vLLM fulfil the contract of all fleets. vLLM needs a separate environment (docs/vllm.md)."""

import importlib.util
import os
import signal

import pytest

from swarmeval.errors import ConfigError
from swarmeval.requests import Message, Reply, Request, Sampling
from swarmeval.workers import vllm_support
from swarmeval.workers.devices import DeviceSpec
from swarmeval.workers.local import LocalFleet
from swarmeval.workers.protocol import Worker
from swarmeval.workers.replica_spec import ReplicaSpec
from tests.support.fleet_contract import FleetContract, collect

HERE = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not HERE, reason=f"vLLM is not installed ({vllm_support.INSTALL})")
ENV = {"CUDA_VISIBLE_DEVICES": "", "VLLM_CPU_KVCACHE_SPACE": "1"}


@pytest.mark.skipif(HERE, reason="vLLM is installed")
def test_a_missing_vllm_is_reported_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        vllm_support.check("cuda", "nf4")
    assert str(caught.value) == (
        "fleet is 'vllm' but vLLM is not installed; pip install 'vllm>=0.32,<0.33' 'vllm-bnb-plugin>=0.0.3,<0.1'"
    )


@needs_vllm
def test_nf4_weights_on_a_cpu_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        vllm_support.check("cpu", "nf4")
    assert str(caught.value) == ("fleet is 'vllm': vLLM does not support NF4 weights on a CPU; set load_in_4bit: false")
    vllm_support.check("cpu", "auto")


def made(rows: int) -> LocalFleet:
    """A fleet of vLLM workers with the bundled model on the CPU."""
    spec = ReplicaSpec("vllm", "embedded", "cpu", "auto", "auto", "off", "off", True, rows, 8)
    return LocalFleet([DeviceSpec("cpu:0", "cpu", env=ENV)], [spec], silence_s=120.0, load_s=280.0)


@needs_vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
class TestVllmFleet(FleetContract):
    limit_s = 600.0

    def fleet(self, slow: bool = False) -> LocalFleet:
        return made(self.rows)

    async def kill(self, worker: Worker) -> None:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)

    def test_counts_and_times_of_an_answer_are_true(self) -> None:
        async def use(worker: Worker) -> None:
            user = Message("user", "Count from 1 to 9, digits only.")
            greedy = Sampling(24, do_sample=False, stop=("5",))
            (answer,) = await collect(worker, [Request("j", 2**64 - 1, greedy, messages=(user,))])
            assert isinstance(answer, Reply)
            assert "5" not in answer.text
            assert answer.prompt_tokens > 10
            short = Request("k", 1, Sampling(5), text="def fibonacci(n):")
            (answer,) = await collect(worker, [short])
            assert isinstance(answer, Reply)
            assert (answer.finish_reason, answer.output_tokens) == ("length", 5)
            assert 0 < answer.ttft_s < answer.latency_s

        self.with_worker(use)
