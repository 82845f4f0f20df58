"""Runs Bash scripts in jails with chosen layers only, each in a process of its own.

The kernel gives no user namespace to a process with threads, and libraries that a test session has imported may start
some in each process that it forks.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from swarmeval.location import ROOT
from swarmeval.sandbox.executed.handle import CommandEnd, CommandJail, Limits
from swarmeval.sandbox.jail_handle import JailHandle, open_jail
from swarmeval.sandbox.layers.places import executable_places
from swarmeval.sandbox.layers.seccomp import Seccomp
from tests.support.sandbox_runs import descendants


def end_of(text: str, layers: Collection[str]) -> CommandEnd:
    """The end of a Bash script in a jail with these layers only."""
    words = [sys.executable, "-m", __name__, text, *layers]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return CommandEnd(**json.loads(done.stdout))


def run_in_jail(text: str, layers: Collection[str]) -> CommandEnd:
    """The end of the script, in a jail that this process forks; it must have no other thread."""

    def receive(jail: JailHandle) -> dict[str, Any]:
        while "running" in (message := jail.receive()):
            pass
        return message

    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        seccomp = Seccomp(executes=True) if "seccomp" in layers else None
        jail = open_jail(f"{folder}/jail", executable_places([]), seccomp, layers, executes=True)
        try:
            commands = CommandJail(jail, receive)
            commands.begin([("script", text)])
            return commands.run(["/bin/bash", "script"], Limits(10.0, 2048), {"PATH": "/usr/bin:/bin"})
        finally:
            started = descendants()
            jail.close()
            psutil.wait_procs(started, timeout=10.0)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(run_in_jail(sys.argv[1], sys.argv[2:]))))
