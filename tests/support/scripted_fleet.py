"""A local fleet of scripted replicas on the CPU: real worker processes without a model."""

from swarmeval.workers.devices import DeviceSpec
from swarmeval.workers.local import LocalFleet
from swarmeval.workers.replica_spec import ReplicaSpec, Script


def scripted(script: Script, workers: int = 1, silence_s: float = 30.0, load_s: float = 30.0) -> LocalFleet:
    devices = [DeviceSpec(f"cpu:{number}", "cpu") for number in range(workers)]
    specs = [
        ReplicaSpec("scripted", "scripted", device.name, "auto", "auto", "off", "off", True, None, 8, script=script)
        for device in devices
    ]
    return LocalFleet(devices, specs, silence_s, load_s)
