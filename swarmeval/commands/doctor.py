"""`python main.py doctor`: is this machine fit for the run that the settings ask for? A line for each check."""

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from gpu_monitor import GpuSettings, list_devices, list_settings, visible_to_process
from swarmeval.commands.output import say
from swarmeval.doctor import judging, machine, model, servers
from swarmeval.doctor.finding import Finding, verdict
from swarmeval.records import DeviceSample
from swarmeval.session.fleet_choice import choose
from swarmeval.settings import loading
from swarmeval.settings.run_config import RunConfig


def doctor(options: argparse.Namespace) -> int:
    """Check everything, cheapest first; gives 0 when fit and 2 when not. Raises ConfigError."""
    config = loading.load(options.config, loading.from_flags(vars(options), {}))
    served = config.fleet == "endpoint"
    gpus = visible_to_process(list_devices()) if config.device == "cuda" and not served else ()
    shown = {gpu.index for gpu in gpus}
    settings = [gpu for gpu in list_settings() if gpu.index in shown]
    results: list[Finding] = []
    for finding in findings(config, gpus, settings):
        results.append(finding)
        say(str(finding))
    say(f"\n{options.config}: {verdict(results)}")
    return 2 if any(finding.state == "UNFIT" for finding in results) else 0


def findings(config: RunConfig, gpus: Sequence[DeviceSample], settings: Sequence[GpuSettings]) -> Iterator[Finding]:
    """Each as soon as it is found."""
    yield from machine.findings(config, os.environ, gpus, settings)  # alone: it looks how busy the machine is
    with ThreadPoolExecutor(1) as background:
        card = model.reading(config, background)
        yield from judging.findings(config)
        yield from model.findings(config, card, gpus, settings)
    if config.fleet == "endpoint":
        yield from servers.findings(choose(config).make(None))
