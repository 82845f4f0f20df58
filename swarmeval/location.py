"""Location of this code (checkout or site-packages), and the commands and environment that depend on it."""

import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # must be on sys.path
PACKAGE = "swarmeval"
MODULES = (  # installed beside the package; main.py exists only in a checkout
    "agent_manager", "gpu_monitor", "human_eval_runner", "metrics_dashboard", "model_loader", "resource_monitor",
)  # fmt: skip


def own_paths() -> list[Path]:
    """The package's folder and the modules beside it. In site-packages, other files below ROOT are not ours."""
    return [ROOT / PACKAGE, *(ROOT / f"{module}.py" for module in MODULES)]


@cache
def requirements() -> tuple[str, ...] | None:
    """The dependencies of the installed package, including extras; None in a checkout, which pip does not manage."""
    from importlib import metadata  # slow, and not needed for --help

    for distribution in metadata.distributions(name=PACKAGE, path=[str(ROOT)]):
        return tuple(distribution.requires or ())
    return None


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy of `environ` in which another Python process finds this code from any working directory."""
    path = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)}


def command() -> str:
    """The command that the user types to run Swarmeval, for use in messages."""
    return "swarmeval" if Path(sys.argv[0]).name == "swarmeval" else "python main.py"


def dashboard_command() -> str:
    """The command that the user types to watch a run."""
    return "python metrics_dashboard.py" if requirements() is None else "python -m metrics_dashboard"
