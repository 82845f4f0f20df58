"""Commands under a seccomp filter from outside, as in a container without privileges."""

import json
import sys
from pathlib import Path

from tests.support.checkout import ROOT

PROFILE = ROOT / "containers/seccomp.json"
# What Docker's own profile forbids without CAP_SYS_ADMIN, as far as it concerns the sandbox.
DEFAULT = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": ["unshare", "mount", "umount2", "pivot_root", "setns", "mount_setattr"],
         "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    ],
}  # fmt: skip
# Applies a profile in Docker's format as its runtime does, then starts the command.
LAUNCHER = """
import json, os, sys
import pyseccomp as lib
profile = json.loads(sys.argv[1])
assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
rules = lib.SyscallFilter(lib.ALLOW)
for group in profile["syscalls"]:
    for name in group["names"]:
        if lib.resolve_syscall(lib.system_arch(), name) >= 0:
            rules.add_rule(lib.ERRNO(group["errnoRet"]), name)
rules.load()
os.execv(sys.argv[2], sys.argv[2:])
"""


def caged(profile: Path | None, *words: str) -> list[str]:
    """The words for Python that start Python with these words under a profile; None is Docker's own."""
    text = json.dumps(DEFAULT) if profile is None else profile.read_text(encoding="utf-8")
    return ["-c", LAUNCHER, text, sys.executable, "-B", *words]
