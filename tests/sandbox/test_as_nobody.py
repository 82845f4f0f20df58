"""The adversarial tests, repeated as an ordinary account in temporary PID and mount namespaces."""

import os

import pytest

from tests.support.other_account import can_be_another, run_as

pytestmark = [pytest.mark.slow, *can_be_another]
SUITE = ("tests/sandbox/test_containment.py", "tests/sandbox/test_confirmation.py")
NOBODY = 65534


def test_an_ordinary_account_is_served_and_held_as_root_is() -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", *SUITE]
    done = run_as(NOBODY, *words, environment={"PATH": os.defpath, "LANG": "C.UTF-8"})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
