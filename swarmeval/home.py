"""The user's folders. Sets USER and HOME for a user id without an account, as with `docker run --user 12345`.

Libraries use both to find their caches. Without a home some fail, and others write to the working directory.
"""

import os
import pwd
import stat
from collections.abc import MutableMapping
from pathlib import Path

from swarmeval.errors import ConfigError

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # where getpass looks


def settle_in(environ: MutableMapping[str, str]) -> None:
    """Set HOME and USER if neither the environment nor the machine's list of users defines them.

    Containers may set HOME to "/", which only root can write to. Such a HOME counts as unset. Raises ConfigError if no
    folder can be used as HOME.
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


def cache_folder() -> Path:
    """The folder for files that can be made again; the environment variable SWARMEVAL_CACHE overrides it."""
    from platformdirs import user_cache_dir  # slow, and not needed for --help

    return Path(os.environ.get("SWARMEVAL_CACHE") or user_cache_dir("swarmeval"))


def _own_folder(uid: int) -> Path:
    """A fixed folder in the temporary directory, so that caches persist. Refuses links and folders of other users."""
    import tempfile  # slow, and not needed for --help

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
