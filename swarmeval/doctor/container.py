"""Recognizes a container around this process, and names what it takes from the sandbox, with remedies."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from swarmeval.doctor.finding import Finding
from swarmeval.sandbox.layers.guard import LAYERS

ATTEMPT = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(0 if libc.unshare(0x10000000) == 0 else ctypes.get_errno())  # CLONE_NEWUSER
"""
SYS_ADMIN = 1 << 21
FILTERED = "2"  # the seccomp mode of a process with a filter
MARKS = {".dockerenv": "Docker", "run/.containerenv": "Podman", "var/run/secrets/kubernetes.io": "Kubernetes"}
CGROUPS = {"kubepods": "Kubernetes", "libpod": "Podman", "docker": "Docker", "containerd": "containerd", "lxc": "LXC"}
PROFILE = (
    "docker run --security-opt seccomp=containers/seccomp.json; Kubernetes: seccompProfile of type Localhost; "
    "docs/containers.md"
)
MOUNTS = "docker run --security-opt apparmor=unconfined; Kubernetes: appArmorProfile of type Unconfined"
ON_THE_HOST = "on the host: sysctl user.max_user_namespaces=10000, kernel.apparmor_restrict_unprivileged_userns=0"


@dataclass(frozen=True, slots=True)
class Confinement:
    """The confinement of this process from outside, as far as it can tell."""

    container: str  # its kind; empty outside of containers
    seccomp: bool  # a filter from outside is in force
    is_admin: bool  # has CAP_SYS_ADMIN
    namespace_errno: int  # of an attempt to create a user namespace; 0 if that is allowed

    @property
    def is_confined(self) -> bool:
        return bool(self.container) or self.seccomp


UNCONFINED = Confinement(container="", seccomp=False, is_admin=False, namespace_errno=0)


def confinement(root: Path, environ: Mapping[str, str]) -> Confinement:
    """Read the marks beneath this root, and try to create a user namespace in a child process."""
    lines = (root / "proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    return Confinement(
        kind(root, environ),
        status.get("Seccomp", "0").strip() == FILTERED,
        bool(int(status.get("CapEff", "0").strip(), 16) & SYS_ADMIN),
        try_user_namespace(),
    )


def kind(root: Path, environ: Mapping[str, str]) -> str:
    """The kind of container; "" if nothing hints at one."""
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "Kubernetes"
    for mark, name in MARKS.items():
        if (root / mark).exists():
            return name
    for path in ("proc/self/cgroup", "proc/self/mountinfo"):
        try:
            text = (root / path).read_text(errors="replace")
        except OSError:
            continue
        if path.endswith("mountinfo"):  # with its own cgroup namespace, a container sees only "/"
            text = "\n".join(line for line in text.splitlines() if " / / " in line or "/etc/hostname" in line)
        for word, name in CGROUPS.items():
            if f"/{word}" in text:
                return name
    return environ.get("container", "")


def try_user_namespace() -> int:
    """0 if this user may create a user namespace, otherwise the errno. The attempt is made in another process."""
    return subprocess.run([sys.executable, "-I", "-S", "-c", ATTEMPT], check=False).returncode


def findings(found: Confinement, missing: Mapping[str, str]) -> Iterator[Finding]:
    """Report what confines this process, and which layers hold inside. Missing layers have findings of their own."""
    if not found.is_confined:
        return
    parts = [f"marks of {found.container}" if found.container else "no marks of a container"]
    parts.append("a seccomp filter from outside" if found.seccomp else "no seccomp filter from outside")
    parts.append("with CAP_SYS_ADMIN" if found.is_admin else "without CAP_SYS_ADMIN")
    refused = found.namespace_errno
    parts.append(f"user namespaces refused ({os.strerror(refused)})" if refused else "user namespaces allowed")
    yield Finding("container", "note" if missing else "ok", "; ".join(parts))
    for layer in LAYERS:
        if layer not in missing:
            yield Finding(layer, "ok", "holds inside the container")


def remedy(layer: str, reason: str, found: Confinement) -> str:
    """The way to a missing layer inside this container; "" if the container is not the cause."""
    if not found.is_confined:
        return ""
    if layer == "namespaces":
        if not found.namespace_errno:
            return MOUNTS
        return PROFILE if found.seccomp and found.namespace_errno == errno.EPERM else ON_THE_HOST
    if layer == "landlock":
        return PROFILE if found.seccomp and os.strerror(errno.EPERM) in reason else ""
    if layer == "seccomp":
        return "install libseccomp2 in the image"
    return ""
