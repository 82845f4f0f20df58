"""The local fleet fulfils the contract of all fleets."""

import os
import signal

import pytest

from swarmeval.workers.devices import DeviceSpec
from swarmeval.workers.local import LocalFleet
from swarmeval.workers.protocol import Worker
from swarmeval.workers.replica_spec import ReplicaSpec, Script
from tests.support.fleet_contract import SLOW_STEPS, FleetContract

pytestmark = pytest.mark.slow


class TestLocalFleet(FleetContract):
    def fleet(self, slow: bool = False) -> LocalFleet:
        script = Script(rows=self.rows, steps=SLOW_STEPS if slow else 2, step_s=0.02 if slow else 0.0)
        spec = ReplicaSpec("scripted", "scripted", "cpu:0", "auto", "auto", "off", "off", True, None, 8, script=script)
        return LocalFleet([DeviceSpec("cpu:0", "cpu")], [spec], silence_s=30.0, load_s=30.0)

    async def kill(self, worker: Worker) -> None:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
