"""Messages that suggest a command use the form of the call: from a checkout, or as the installed `swarmeval`."""

import subprocess
import sys

import pytest

from tests.support.checkout import ROOT

MESSAGES = """
import sys
sys.argv[0] = sys.argv[1]
from swarmeval.errors import ConfigError
from swarmeval.scores.unions import unions
from swarmeval.settings import loading
print(unions({name: {"a": (1, 1)} for name in "abcde"})["a + b"]["undefined"]["pass@1_each_interval"])
try:
    loading.validate({"benchmark": "testgen"}, "x")
except ConfigError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("called", "command"), [("/usr/bin/swarmeval", "swarmeval"), ("main.py", "python main.py"), ("", "python main.py")]
)
def test_a_suggested_command_is_named_as_it_was_called(called: str, command: str) -> None:
    words = [sys.executable, "-c", MESSAGES, called]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"with more than 4 profiles, computed only for all together; use {command} union",
        f"x: benchmark: testgen is now a command; run {command} loadtest",
    ]
