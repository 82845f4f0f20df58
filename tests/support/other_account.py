"""A command as another account, for tests that root runs: in process and mount namespaces that end with it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from swarmeval.location import ROOT

# If only root may enter a folder above the interpreter, a readable folder is mounted over it.
SCRIPT = """
set -e
account=$1 prefix=$2 closed=$3; shift 3
if [ -n "$closed" ]; then
    hold=$(mktemp -d)
    mount --bind "$prefix" "$hold"
    mount -t tmpfs -o mode=755 none "$closed"
    mkdir -p "$prefix"
    mount --move "$hold" "$prefix"
fi
setpriv --reuid "$account" --regid "$account" --clear-groups --no-new-privs "$@"
"""
TOOLS = ("unshare", "setpriv", "mount")
can_be_another = [
    pytest.mark.skipif(os.getuid() != 0, reason="only root can become another"),
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"),
]


def closed_folder(path: str) -> str:
    """The first folder on the way to a path that others may not enter; "" where the way is open."""
    return next((str(above) for above in reversed(Path(path).parents) if not above.stat().st_mode & 0o001), "")


def run_as(account: int, *words: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run Python with these words in the checkout; the test is skipped where others cannot read that."""
    if closed_folder(str(ROOT)):
        pytest.skip(f"{closed_folder(str(ROOT))}: others cannot read the checkout")
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "bash", "-c", SCRIPT, "_", str(account)]
    command += [sys.base_prefix, closed_folder(sys.base_prefix), sys.executable, "-B", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
