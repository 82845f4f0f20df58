"""`python main.py doctor`: is this machine fit for the run that the settings ask for? A line for each check."""

import argparse
import os

from bench import settings_file
from commands.fleets import choose
from commands.summary import say
from doctor import judging, machine, model, servers
from doctor.finding import Finding, verdict
from gpu_monitor import list_devices, list_settings, visible_here


def doctor(options: argparse.Namespace) -> int:
    """Check everything, cheapest first; gives 0 when fit and 2 when not. Raises ConfigError."""
    config = settings_file.load(options.config, settings_file.from_flags(vars(options), {}))
    served = config.fleet == "endpoint"
    gpus = visible_here(list_devices()) if config.device == "cuda" and not served else ()
    shown = {gpu.index for gpu in gpus}
    settings = [gpu for gpu in list_settings() if gpu.index in shown]
    found: list[Finding] = []
    for part in (
        machine.findings(config, os.environ, gpus, settings),
        judging.findings(config),
        model.findings(config, gpus, settings),
        servers.findings(choose(config).make(None)) if served else (),
    ):
        for finding in part:
            found.append(finding)
            say(str(finding))
    say(f"\n{options.config}: {verdict(found)}")
    return 2 if any(finding.state == "UNFIT" for finding in found) else 0
