"""The doctor inside containers: what it recognizes, which layers hold, and the remedy for each missing one."""

import errno
import json
import os
from pathlib import Path

import pytest

from swarmeval.doctor import container
from swarmeval.doctor.container import Confinement
from swarmeval.doctor.finding import Finding
from tests.support.caged import PROFILE, caged
from tests.support.other_account import can_be_another, run_as

STATUS = "Name:\tx\nCapEff:\t{caps}\nSeccomp:\t{mode}\n"
UNPRIVILEGED = Confinement("Docker", seccomp=True, is_admin=False, namespace_errno=errno.EPERM)
CHECK = """
import asyncio, sys
sys.path.insert(0, ".")
from swarmeval.doctor.container import confinement
from swarmeval.doctor.judging import layers
from swarmeval.sandbox.runner import Sandbox
from swarmeval.settings.run_config import RunConfig
from pathlib import Path

async def main():
    async with Sandbox(1, 5.0, 1024) as sandbox:
        for finding in layers(RunConfig(), sandbox.in_force(), sandbox.missing(), confinement(Path("/"), {})):
            print(finding)
asyncio.run(main())
"""


def machine(folder: Path, marks: dict[str, str], caps: str = "0", mode: str = "0") -> Path:
    """A root folder with these files."""
    for name, text in {"proc/self/status": STATUS.format(caps=caps, mode=mode), **marks}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("marks", "environ", "expected"),
    [
        ({}, {}, ""),
        ({".dockerenv": ""}, {}, "Docker"),
        ({"run/.containerenv": ""}, {}, "Podman"),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "Kubernetes"),
        ({"proc/self/cgroup": "0::/kubepods.slice/pod1\n"}, {}, "Kubernetes"),
        ({"proc/self/mountinfo": "1 0 0:3 / / rw - overlay x rw,upperdir=/var/lib/containerd/1\n"}, {}, "containerd"),
        ({"proc/self/mountinfo": "1 0 0:3 / /var/lib/docker rw - ext4 /dev/vda rw\n"}, {}, ""),
        ({}, {"container": "lxc"}, "lxc"),
    ],
)
def test_containers_are_recognized_by_their_marks(
    tmp_path: Path, marks: dict[str, str], environ: dict[str, str], expected: str
) -> None:
    assert container.kind(machine(tmp_path, marks), environ) == expected


def test_a_filter_and_rights_are_read_from_the_status(tmp_path: Path) -> None:
    found = container.confinement(machine(tmp_path, {}, caps="0000000000200000", mode="2"), {})
    assert (found.container, found.seccomp, found.is_admin, found.is_confined) == ("", True, True, True)


def test_outside_of_containers_nothing_is_said() -> None:
    assert list(container.findings(container.UNCONFINED, {"namespaces": "x"})) == []
    assert container.remedy("namespaces", "x", container.UNCONFINED) == ""


def test_each_layer_that_holds_has_a_line() -> None:
    assert list(container.findings(UNPRIVILEGED, {"namespaces": "refused"})) == [
        Finding(
            "container", "note", "marks of Docker; a seccomp filter from outside; without CAP_SYS_ADMIN; "
            "user namespaces refused (Operation not permitted)",
        ),
        Finding("landlock", "ok", "holds inside the container"),
        Finding("seccomp", "ok", "holds inside the container"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "reason", "found", "remedy"),
    [
        ("namespaces", "unshare", UNPRIVILEGED, container.PROFILE),
        ("namespaces", "mount", Confinement("Docker", True, False, 0), container.MOUNTS),
        ("namespaces", "unshare", Confinement("Docker", True, False, errno.ENOSPC), container.ON_THE_HOST),
        ("namespaces", "unshare", Confinement("LXC", False, False, errno.EPERM), container.ON_THE_HOST),
        ("landlock", "landlock_create_ruleset: Operation not permitted", UNPRIVILEGED, container.PROFILE),
        ("landlock", "landlock_create_ruleset: Function not implemented", UNPRIVILEGED, ""),
        ("seccomp", "no library", UNPRIVILEGED, "install libseccomp2 in the image"),
    ],
)
def test_the_remedy_follows_from_the_cause(layer: str, reason: str, found: Confinement, remedy: str) -> None:
    assert container.remedy(layer, reason, found) == remedy


def said_under(profile: Path | None) -> str:
    done = run_as(65534, *caged(profile, "-c", CHECK), environment={"PATH": os.defpath, "LANG": "C.UTF-8"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@can_be_another[0]
@can_be_another[1]
def test_under_the_profile_of_docker_landlock_and_seccomp_hold() -> None:
    said = said_under(None)
    assert "namespaces  missing ([Errno 1] unshare: Operation not permitted)" in said
    assert f"-> {container.PROFILE}" in said
    assert "user namespaces refused (Operation not permitted)" in said
    assert "ok    seccomp     holds inside the container" in said


@pytest.mark.slow
@can_be_another[0]
@can_be_another[1]
def test_under_our_profile_every_layer_holds_without_any_right() -> None:
    said = said_under(PROFILE)
    assert "missing" not in said
    assert said.startswith("ok    sandbox     userns+pidns+netns+ipcns+mntns, ")
    assert "a seccomp filter from outside; without CAP_SYS_ADMIN; user namespaces allowed" in said


def test_our_profile_refuses_the_calls_that_reach_the_machine() -> None:
    profile = json.loads(PROFILE.read_text(encoding="utf-8"))
    refused = {name for group in profile["syscalls"] for name in group["names"]}
    assert {"ptrace", "bpf", "keyctl", "kexec_load", "init_module", "io_uring_setup", "setns", "reboot"} <= refused
    assert all(group["action"] == "SCMP_ACT_ERRNO" and group["comment"] for group in profile["syscalls"])
