"""The lock fits the requirements; the scripts that write it and the SBOM fail in one line."""

import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts import extras
from tests.support.checkout import ROOT, Checkout, executable
from tests.support.requirements import EXTRAS, RUN, normal

LOCK = ROOT / "scripts/requirements.lock"
ENTRY = re.compile(r"^([\w.-]+)==([^ ;]+)[^\\\n]*((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", re.MULTILINE)
REMEDY = "run scripts/lock"
TORCH = re.compile(r"torch|triton|cuda-|nvidia-(?!ml-py)")  # torchao is a package of its own
TOOLS = {"scripts/lock": "uv", "scripts/sbom": "cyclonedx-bom"}
# .venv's Python makes the tool's environment, where pip fails if NO_NETWORK is set and the tool always does.
PYTHON = """#!/bin/sh
case "$*" in
*"-m venv"*)
    for place in "$@"; do :; done
    mkdir -p "$place/bin"
    printf '#!/bin/sh\\n[ -z "$NO_NETWORK" ] || { echo "ERROR: no such host"; exit 1; }\\n' >"$place/bin/python"
    printf '#!/bin/sh\\necho "it cannot be done" >&2\\nexit 1\\n' >"$place/bin/uv"
    cp "$place/bin/uv" "$place/bin/cyclonedx-py"
    chmod +x "$place/bin/"* ;;
esac
"""


@cache
def locked() -> Mapping[str, list[str]]:
    """The versions of each package in the lock: several where they depend on Python's version."""
    found: dict[str, list[str]] = {}
    for name, version, _ in ENTRY.findall(LOCK.read_text(encoding="utf-8")):
        found.setdefault(normal(name), []).append(version)
    return found


def test_the_lock_satisfies_every_requirement_and_extra() -> None:
    lines = (*RUN, *(line for name, extra in EXTRAS.items() if name not in extras.LEFT_OUT for line in extra))
    wanted = [requirement for requirement in map(Requirement, lines) if requirement.name != "torch"]
    assert len(wanted) > 40
    for requirement in wanted:
        versions = locked().get(normal(requirement.name))
        assert versions, f"{requirement.name} is not in the lock; {REMEDY}"
        assert all(requirement.specifier.contains(one) for one in versions), f"{requirement}: {versions}; {REMEDY}"


def test_every_package_of_the_lock_has_hashes() -> None:
    text = LOCK.read_text(encoding="utf-8")
    entries = ENTRY.findall(text)
    assert len(entries) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)) > 100
    assert [name for name, _, hashes in entries if not hashes] == []


def test_the_lock_leaves_out_torch_and_its_cuda_packages() -> None:
    assert [name for name in locked() if TORCH.match(name) and name != "torchao"] == []


def test_extras_are_printed_by_name_or_as_setup_installs_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert extras.main(["torchao", "gptqmodel"]) == 0
    assert capsys.readouterr().out.splitlines() == [*EXTRAS["torchao"], *EXTRAS["gptqmodel"]]
    assert extras.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        line for name, extra in EXTRAS.items() if name not in extras.LEFT_OUT for line in extra
    ]
    assert extras.main(["ray", "cobol"]) == 2
    known = ", ".join(EXTRAS)
    assert capsys.readouterr() == ("", f"scripts/extras.py: 'cobol' is not an extra; use one of {known}\n")


@pytest.fixture
def installed(tmp_path: Path) -> Checkout:
    checkout = Checkout(tmp_path)
    for script in TOOLS:
        shutil.copy2(ROOT / script, checkout.root / script)
    executable(checkout.root / ".venv/bin/python", PYTHON)
    for tool in ("chmod", "cp"):
        (checkout.bin / tool).symlink_to(shutil.which(tool) or "")
    checkout.env |= {"SWARMEVAL_CACHE": str(tmp_path / "cache"), "NO_NETWORK": ""}
    return checkout


@pytest.mark.parametrize(("script", "tool"), TOOLS.items())
def test_a_failing_tool_is_reported_in_one_line(installed: Checkout, script: str, tool: str) -> None:
    name = script.removeprefix("scripts/")
    log = f"(full log: {installed.root.parent}/cache/{name}/{name}.log)"
    without = installed.run(script, NO_NETWORK="1")
    assert (without.returncode, without.stderr) == (
        2, f"{script}: {tool} cannot be installed: ERROR: no such host {log}\n",
    )  # fmt: skip
    failed = installed.run(script)
    assert (failed.returncode, failed.stderr) == (2, f"{script}: it cannot be done {log}\n")
    assert not list(installed.root.glob("scripts/requirements.lock*"))
    assert not (installed.root.parent / "sbom.cdx.json").exists()


@pytest.mark.parametrize("script", TOOLS)
def test_without_an_environment_the_scripts_say_what_makes_one(installed: Checkout, script: str) -> None:
    (installed.root / ".venv/bin/python").unlink()
    run = installed.run(script)
    assert (run.returncode, run.stderr) == (2, f"{script}: there is no .venv; run scripts/setup first\n")
