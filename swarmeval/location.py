"""Where this code lives, a checkout or site-packages, and what follows from that for messages and child processes."""

import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # what must be on sys.path
PACKAGE = "swarmeval"
MODULES = (  # beside the package; main.py is only the way in from a checkout
    "agent_manager", "gpu_monitor", "human_eval_runner", "metrics_dashboard", "model_loader", "resource_monitor",
)  # fmt: skip


def own_paths() -> list[Path]:
    """The package's folder and the modules beside it; in site-packages nothing else below ROOT is ours."""
    return [ROOT / PACKAGE, *(ROOT / f"{module}.py" for module in MODULES)]


@cache
def requirements() -> tuple[str, ...] | None:
    """What the installed package depends on, extras included; None in a checkout, which pip does not manage."""
    from importlib import metadata  # `--help` does without

    for distribution in metadata.distributions(name=PACKAGE, path=[str(ROOT)]):
        return tuple(distribution.requires or ())
    return None


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` in which another Python finds this very code, whatever the working directory."""
    path = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)}


def command() -> str:
    """What the user types to run Swarmeval, for messages that suggest it."""
    return "swarmeval" if Path(sys.argv[0]).name == "swarmeval" else "python main.py"


def dashboard_command() -> str:
    """What the user types to watch a run."""
    return "python metrics_dashboard.py" if requirements() is None else "python -m metrics_dashboard"
