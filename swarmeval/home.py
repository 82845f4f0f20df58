"""A name and a home for a user id that the machine does not know, as `docker run --user 12345` gives one.

Libraries ask for both to find their caches: without a home some fail, others write below the working directory.
"""

import os
import pwd
import stat
from collections.abc import MutableMapping
from pathlib import Path

from swarmeval.errors import ConfigError

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # where getpass looks


def settle_in(environ: MutableMapping[str, str]) -> None:
    """Set HOME and USER where neither the environment nor the machine's list of users has them.

    Containers set HOME to "/" where they find no other, which only root can write to: that counts as none. Raises
    ConfigError where no folder can be had.
    """
    uid = os.geteuid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        home = environ.get("HOME")
        if not home or (home == "/" and not os.access(home, os.W_OK)):
            environ["HOME"] = str(_own_folder(uid))
        if not any(environ.get(name) for name in NAMES):
            environ["USER"] = str(uid)


def _own_folder(uid: int) -> Path:
    """A folder in the common one, the same each time, which keeps what is cached; nobody else's, and no link."""
    import tempfile  # `--help` does without

    folder = Path(tempfile.gettempdir(), f"swarmeval-home-{uid}")
    try:
        folder.mkdir(0o700, exist_ok=True)
        found = folder.lstat()
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o022
    except OSError:
        is_ours = False
    if not is_ours:
        raise ConfigError(
            f"user id {uid} is not known to this machine and has no HOME; {folder} cannot be its home: "
            "set HOME to a folder it can write to"
        )
    return folder
