"""Root's programs run with the rights of `nobody` under every umask; otherwise, the run reports it."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from swarmeval.location import ROOT
from swarmeval.records import Outcome
from swarmeval.sandbox.missing_layers import unblocked_acts

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody")]

IDS = """
import os, tempfile
tempfile.TemporaryFile()
raise ValueError(sorted({*os.getresuid(), *os.getresgid()}))
"""
PROBE = """
import asyncio, json, os, sys
os.umask(int(sys.argv[1], 8))
sys.path.insert(0, sys.argv[2])
from swarmeval.records import Program
from swarmeval.sandbox.runner import Sandbox

async def main():
    async with Sandbox(1, 5.0, 1024) as sandbox:
        found = [await sandbox.run(Program(text)) for text in sys.argv[3:]]
        print(json.dumps([[one.outcome, one.detail] for one in found] + [sandbox.missing()]))
asyncio.run(main())
"""


def probe(*programs: str, python: str = sys.executable, umask: str = "022", root: Path = ROOT) -> list[object]:
    words = [python, "-c", PROBE, umask, str(root), *programs]
    found: list[object] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return found


@pytest.mark.parametrize("umask", ["000", "022", "027", "077", "777"])
def test_a_program_of_root_is_nobody_under_every_umask(umask: str) -> None:
    assert probe(IDS, umask=umask) == [
        ["RAISED", "ValueError: [65534] (line 4: raise ValueError(sorted({*os.getresuid(), *os.getresgid()})))"],
        {},
    ]


def test_a_program_of_root_is_nobody_in_a_closed_checkout(tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", ROOT / "swarmeval", ROOT / "gpu_monitor.py", tmp_path], check=True)
    subprocess.run(["chmod", "-R", "go=", tmp_path], check=True)
    assert probe(IDS, root=tmp_path)[1:] == [{}]


def test_packages_that_only_root_can_read_are_found_and_said(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    (site / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (site / "neighbour.py").write_text("")
    site.chmod(0o700)
    found, missing = probe("import neighbour", python=str(tmp_path / "venv" / "bin" / "python"))
    assert found == [Outcome.PASSED, ""]
    assert isinstance(missing, dict)
    assert list(missing) == ["user"]
    assert missing["user"].startswith(
        "the trial program ended as RAISED: PermissionError: [Errno 13] Permission denied"
    )
    assert unblocked_acts(missing) == ["read as root"]
