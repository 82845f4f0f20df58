"""`python main.py doctor`: checks whether this machine is fit for a run with these settings, one line per check."""

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from gpu_monitor import GpuSettings, check_numbers, list_devices, list_settings, visible_to_process
from swarmeval.commands.output import say
from swarmeval.device_sample import DeviceSample
from swarmeval.doctor import judging, machine, model, servers
from swarmeval.doctor.finding import Finding, verdict
from swarmeval.session.fleet_choice import choose
from swarmeval.settings import loading
from swarmeval.settings.run_config import RunConfig


def doctor(options: argparse.Namespace) -> int:
    """Run all checks, the cheapest first; return 0 if fit, 2 if unfit. Raises ConfigError or DeviceError."""
    config = loading.load(options.config, loading.from_flags(vars(options), {}))
    served = config.fleet == "endpoint"
    every = list_devices() if config.device == "cuda" and not served else ()
    check_numbers(every, os.environ)
    gpus = visible_to_process(every)
    shown = {gpu.index for gpu in gpus}
    settings = [gpu for gpu in list_settings() if gpu.index in shown]
    results: list[Finding] = []
    for finding in findings(config, gpus, settings):
        results.append(finding)
        say(str(finding))
    say(f"\n{options.config}: {verdict(results)}")
    return 2 if any(finding.state == "UNFIT" for finding in results) else 0


def findings(config: RunConfig, gpus: Sequence[DeviceSample], settings: Sequence[GpuSettings]) -> Iterator[Finding]:
    """Yield each finding as soon as its check ends."""
    yield from machine.findings(config, os.environ, gpus, settings)  # runs alone: it measures the load of the machine
    with ThreadPoolExecutor(1) as background:
        card = model.reading(config, gpus, background)
        yield from judging.findings(config)
        yield from model.findings(config, card, gpus, settings)
    if config.fleet == "endpoint":
        yield from servers.findings(choose(config).make(None))
