"""A fleet of scripted replicas on a Ray cluster."""

import platform
from collections.abc import Mapping
from importlib import metadata

from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.ray.cluster import Cluster
from swarmeval.workers.ray.fleet import RayFleet
from swarmeval.workers.replica_spec import ReplicaSpec, Script
from tests.support.fleet_contract import SLOW_STEPS

SLOW = Script(4, SLOW_STEPS, 0.02)


def versions() -> dict[str, str]:
    """The package versions of this interpreter, which nodes must match."""
    return {"python": platform.python_version(), "ray": metadata.version("ray")}


def fleet_on(
    member: Cluster,
    script: Script = SLOW,
    ours: Mapping[str, str] | None = None,
    silence_s: float = 30.0,
    **settings: object,
) -> RayFleet:
    """A fleet of scripted replicas, whatever engine the settings name. `ours` defaults to versions()."""

    def spec(model: str, device: str) -> ReplicaSpec:
        return ReplicaSpec("scripted", model, device, "auto", "auto", "off", "off", True, None, 8, script=script)

    settings = {"engine": "scripted", "fleet": "ray", "workers": {"timeout_s": silence_s}, **settings}
    fleet = RayFleet(member, RunConfig.model_validate(settings), ours or versions(), spec, poll_s=0.5)
    fleet.gather()
    return fleet
