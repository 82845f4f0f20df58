"""The files in containers/ are pinned, run without rights, and fit their published schemas."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.checkout import ROOT

FOLDER = ROOT / "containers"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
MANIFESTS = sorted((FOLDER / "kubernetes").glob("*.yaml"))
SCHEMAS = {
    "containers/compose.yaml": "vendor.compose-spec",
    "action.yml": "vendor.github-actions",
    ".github/workflows/smoke.yml": "vendor.github-workflows",
    ".github/workflows/checks.yml": "vendor.github-workflows",
    ".github/dependabot.yml": "vendor.dependabot",
}
USER = 10001


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """The specifications of pods in a manifest."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for inner in value.values():
            yield from pods(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pods(inner)


def test_the_base_image_is_pinned_by_its_digest() -> None:
    assert re.search(r"^ARG BASE=[\w.:-]+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) <= {"${BASE}", *stages}


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_each_target_runs_as_an_ordinary_user(target: str) -> None:
    stage = DOCKERFILE.partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
    assert re.findall(r"^USER (.*)$", stage, re.MULTILINE) == [f"{USER}:{USER}"]
    assert f"useradd --uid {USER} " in DOCKERFILE


def test_no_secret_is_part_of_a_build() -> None:
    names = re.findall(r"^(?:ARG|ENV) (.*)$", DOCKERFILE, re.MULTILINE)
    assert names
    assert not re.search(r"token|key|secret|password", " ".join(names), re.IGNORECASE)
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert {".git", ".venv", "logs"} <= set(ignored)


def test_services_have_no_rights_and_the_profile_of_the_sandbox() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True
        assert {"no-new-privileges:true", "seccomp=seccomp.json"} <= set(service["security_opt"])
        assert "privileged" not in service
    assert all(published.startswith("127.0.0.1:") for published in services["serve"]["ports"])


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_pods_run_without_rights(path: Any) -> None:
    found = [pod for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) for pod in pods(document)]
    assert found
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == USER
        assert pod["automountServiceAccountToken"] is False
        for one in pod["containers"]:
            assert one["securityContext"]["allowPrivilegeEscalation"] is False
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_ray_cluster_has_the_version_of_the_extra() -> None:
    cluster = yaml.safe_load((FOLDER / "kubernetes/raycluster.yaml").read_text(encoding="utf-8"))
    assert f'"ray>={cluster["spec"]["rayVersion"].removesuffix(".0")},' in (ROOT / "pyproject.toml").read_text()


def test_the_profile_is_what_docker_reads() -> None:
    profile = json.loads((FOLDER / "seccomp.json").read_text(encoding="utf-8"))
    assert set(profile) == {"defaultAction", "architectures", "syscalls"}
    names = [name for group in profile["syscalls"] for name in group["names"]]
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_files_fit_their_published_schemas() -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed; run scripts/setup --dev")
    for name, schema in SCHEMAS.items():
        words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / name)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
