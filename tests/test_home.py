"""A user id that the machine does not know works with a name and a home of its own, or is told what it needs."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tiny_model
from tests.support.command_line import SMOKE
from tests.support.other_account import can_be_another, run_as

pytestmark = [pytest.mark.slow, *can_be_another]
UNKNOWN = 12345
SETTLE = """
import getpass, os
from pathlib import Path
from swarmeval.home import settle_in
settle_in(os.environ)
print(getpass.getuser(), Path.home())
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for everyone. Not below pytest's own: each session of pytest closes that one to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def environment(place: Path, **more: str) -> dict[str, str]:
    """The environment of an unknown user without a home."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "TMPDIR": str(place), **more}


def test_an_unknown_user_without_a_home_can_load_a_model(place: Path) -> None:
    model = tiny_model.save(place / "model")
    subprocess.run(["chmod", "-R", "a+rX", model], check=True)
    words = ["--config", "config/smoke.yaml", "--num_agents", "1", "--num_tasks", "1"]
    words += ["--output_dir", str(place / "run"), "--set", f"model_id={model}", "max_new_tokens=4"]
    done = run_as(UNKNOWN, "main.py", *words, "eval_timeout_scale=1", environment=environment(place))
    assert done.returncode == 0, done.stderr
    assert "died" not in done.stderr
    assert (place / f"swarmeval-home-{UNKNOWN}").stat().st_mode & 0o777 == 0o700


def test_a_home_and_a_name_that_are_set_stay(place: Path) -> None:
    said = [
        run_as(UNKNOWN, "-c", SETTLE, environment=environment(place, **set_by_user)).stdout.split()
        for set_by_user in ({}, {"HOME": "/"}, {"HOME": "/usr"}, {"LOGNAME": "me"})
    ]
    own = str(place / f"swarmeval-home-{UNKNOWN}")
    assert said == [[str(UNKNOWN), own], [str(UNKNOWN), own], [str(UNKNOWN), "/usr"], ["me", own]]


def test_where_no_home_can_be_had_one_line_says_so(place: Path) -> None:
    taken = place / f"swarmeval-home-{UNKNOWN}"
    taken.mkdir()  # by root
    done = run_as(UNKNOWN, "main.py", *SMOKE, environment=environment(place))
    assert (done.returncode, done.stdout, done.stderr) == (
        2, "",
        f"swarmeval: user id {UNKNOWN} is not known to this machine and has no HOME; {taken} cannot be its home: "
        "set HOME to a folder it can write to\n",
    )  # fmt: skip
