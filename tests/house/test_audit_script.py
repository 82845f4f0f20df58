"""scripts/audit with a fake pip-audit: vulnerabilities found, none known, and no answer have different exit codes."""

from pathlib import Path

import pytest

from tests.support.checkout import Checkout, executable

SKIPPED = "mine  Dependency not found on PyPI and could not be audited: mine (1.0)"
# .venv's Python creates pip-audit's environment and lists installed packages. The new environment's Python logs calls.
PYTHON = """#!/bin/sh
case "$*" in
*"-m venv"*)
    for place in "$@"; do :; done
    mkdir -p "$place/bin"
    cat >"$place/bin/python" <<'END'
#!/bin/sh
echo "$*" >>"$HOME/pip"
[ -z "$NO_NETWORK" ] || { echo "ERROR: no such host"; exit 1; }
END
    cat >"$place/bin/pip-audit" <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do
    [ "$1" != --requirement ] || cat "$2" >"$HOME/asked"
    shift
done
printf "%b" "$FOUND"
printf "%b" "$SAID" >&2
exit $CODE
END
    chmod +x "$place/bin/python" "$place/bin/pip-audit" ;;
*"list --format=freeze"*) printf 'torch==2.13.0+cpu\\nmine==1.0\\nlocal @ file:///x\\n' ;;
esac
"""


@pytest.fixture
def installed(tmp_path: Path) -> Checkout:
    checkout = Checkout(tmp_path)
    executable(checkout.root / ".venv/bin/python", PYTHON)
    (checkout.bin / "chmod").symlink_to("/bin/chmod")
    checkout.env |= {"SWARMEVAL_CACHE": str(tmp_path / "cache"), "CODE": "0", "FOUND": "", "SAID": "", "NO_NETWORK": ""}
    return checkout


def test_nothing_known_is_0_and_local_builds_are_looked_up_by_version(installed: Checkout) -> None:
    run = installed.run("scripts/audit", SAID="No known vulnerabilities found\\n")
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "scripts/audit: no known vulnerability in 2 packages")
    assert (installed.root.parent / "asked").read_text() == "torch==2.13.0\nmine==1.0\n"


def test_what_is_found_is_1_and_listed(installed: Checkout) -> None:
    said = "WARNING: x\\nFound 1 known vulnerability in 1 package\\n"
    run = installed.run("scripts/audit", SAID=said, FOUND=f"torch 2.13.0 CVE-1 2.13.1\\n{SKIPPED}\\n", CODE="1")
    assert run.returncode == 1
    assert run.stdout.splitlines()[1:] == ["torch 2.13.0 CVE-1 2.13.1"]
    assert run.stderr == ("scripts/audit: Found 1 known vulnerability in 1 package; 1 of 2 packages were looked up\n")


def test_a_service_that_cannot_be_asked_is_3_and_never_taken_for_good_news(installed: Checkout) -> None:
    run = installed.run("scripts/audit", SAID="Traceback\\nConnectionError: no such host\\n", CODE="1")
    assert run.returncode == 3
    assert run.stderr == (
        "scripts/audit: the service did not answer, so the result is unknown: ConnectionError: no such host "
        f"(full log: {installed.root.parent}/cache/audit/audit.log)\n"
    )
    run = installed.run("scripts/audit", SAID="No known vulnerabilities found\\n", FOUND=SKIPPED + "\\n")
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr == "scripts/audit: the service does not know 1 of 2 packages, for example mine\n"


def test_a_tool_that_cannot_be_installed_is_3_and_is_tried_again_next_time(installed: Checkout) -> None:
    run = installed.run("scripts/audit", NO_NETWORK="1")
    assert run.returncode == 3
    assert run.stderr.startswith("scripts/audit: pip-audit cannot be installed: ERROR: no such host")
    assert installed.run("scripts/audit").returncode == 0
    assert installed.run("scripts/audit").returncode == 0
    assert len((installed.root.parent / "pip").read_text().splitlines()) == 2  # one failure, one success, then none


def test_without_an_environment_it_says_what_makes_one(installed: Checkout) -> None:
    (installed.root / ".venv/bin/python").unlink()
    run = installed.run("scripts/audit")
    assert (run.returncode, run.stderr) == (2, "scripts/audit: there is no .venv; run scripts/setup first\n")


def test_no_check_and_no_test_asks_for_an_audit(installed: Checkout) -> None:
    for door in ("scripts/check", "scripts/test", ".ci/run", "scripts/setup"):
        assert "audit" not in (installed.root / door).read_text(encoding="utf-8")
