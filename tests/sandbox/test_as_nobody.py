"""The adversarial tests, repeated as an ordinary account in temporary process and mount namespaces."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarmeval.location import ROOT

SUITE = ("tests/sandbox/test_containment.py", "tests/sandbox/test_confirmation.py")
# If only root may enter a folder above the interpreter, a readable folder is mounted over it.
SCRIPT = """
set -e
prefix=$1 closed=$2; shift 2
if [ -n "$closed" ]; then
    hold=$(mktemp -d)
    mount --bind "$prefix" "$hold"
    mount -t tmpfs -o mode=755 none "$closed"
    mkdir -p "$prefix"
    mount --move "$hold" "$prefix"
fi
setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "$@"
"""
TOOLS = ("unshare", "setpriv", "mount")


def closed_folder(path: str) -> str:
    """The first folder above a path that the account `nobody` may not enter; "" if it may enter all."""
    return next((str(above) for above in reversed(Path(path).parents) if not above.stat().st_mode & 0o001), "")


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody")
@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")
def test_an_ordinary_account_is_served_and_held_as_root_is() -> None:
    if closed_folder(str(ROOT)):
        pytest.skip(f"{closed_folder(str(ROOT))}: nobody cannot read the checkout")
    words = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "bash", "-c", SCRIPT, "_"]
    words += [sys.base_prefix, closed_folder(sys.base_prefix)]
    words += [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", *SUITE]
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
