"""Downloads from a fake hub on loopback: every problem is reported in one line with its remedy."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import model_loader
from swarmeval.errors import ModelUnavailable
from swarmeval.hub import commit_of
from tests.support.checkout import ROOT

SHA = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"  # of the tag v1
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "original/consolidated.00.pth": b"twice the bytes"}

ROWS = b'{"task_id": "T/0", "prompt": "def f():\\n", "entry_point": "f", "test": "assert f() == 1"}\n'

FETCH = """
import sys
from swarmeval.tasks.datasets import from_hub
from swarmeval.errors import DataError
try:
    found = from_hub(sys.argv[1], "data/rows.jsonl")
    print(found.revision, len(found.rows), found.path.name)
except DataError as error:
    print(error)
"""

LOCATE = """
import os
import sys
import model_loader
from swarmeval.errors import ModelUnavailable
try:
    print(model_loader.locate(sys.argv[1], progress=False, revision=os.environ.get("REVISION")))
except ModelUnavailable as error:
    print(error)
print(sorted({"torch", "transformers"} & sys.modules.keys()))
"""


class Hub(BaseHTTPRequestHandler):
    """Serves owner/open, refuses owner/gated, and answers 404 to everything else."""

    def do_GET(self) -> None:
        if "/owner/gated" in self.path:
            self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        elif "/owner/broken" in self.path:
            self.answer(500, b"")
        elif "/owner/open" not in self.path:
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/main/" in self.path:
            self.answer(200, ROWS, {"ETag": '"rows"', "X-Repo-Commit": SHA})
        elif "/tree/" in self.path:
            listing = [{"type": "file", "path": p, "size": len(b), "oid": p} for p, b in FILES.items()]
            self.answer(200, json.dumps(listing).encode())
        elif "/resolve/" in self.path:
            sha, _, name = self.path.split("/resolve/")[1].partition("/")
            self.answer(200, FILES[name], {"ETag": f'"{name.replace("/", "-")}"', "X-Repo-Commit": sha})
        elif "/revision/nowhere" in self.path:
            self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            sha = OLDER if self.path.endswith(("/revision/v1", f"/revision/{OLDER}")) else SHA
            info = {"id": "owner/open", "sha": sha, "siblings": [{"rfilename": path} for path in FILES]}
            self.answer(200, json.dumps(info).encode())

    do_HEAD = do_GET  # noqa: N815

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def locate(model_id: str, endpoint: str, home: Path, **environment: str) -> str:
    """The result or error message of locate, after a check that it loaded no model library."""
    said, loaded = said_by(LOCATE, model_id, endpoint, home, **environment)
    assert loaded == "[]"
    return said


def said_by(program: str, name: str, endpoint: str, home: Path, **environment: str) -> list[str]:
    """The lines printed by a program that requests `name` from the hub at `endpoint`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    ended = subprocess.run(
        [sys.executable, "-c", program, name],
        cwd=ROOT,
        env=clean | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return ended.stdout.splitlines()


@pytest.mark.slow
def test_a_model_is_fetched_once_and_without_the_makers_own_format(tmp_path: Path) -> None:
    with hub() as endpoint:
        folder = Path(locate("owner/open", endpoint, tmp_path))
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*")) == ["config.json", "model.safetensors"]
    assert locate("owner/open", "http://127.0.0.1:9", tmp_path) == str(folder)  # no hub there, but the model is cached


@pytest.mark.slow
def test_a_pinned_revision_is_fetched_and_found_again_offline(tmp_path: Path) -> None:
    offline = "http://127.0.0.1:9"
    with hub() as endpoint:
        main = locate("owner/open", endpoint, tmp_path)
        tagged = locate("owner/open", endpoint, tmp_path, REVISION="v1")
    assert (commit_of(main), commit_of(tagged)) == (SHA, OLDER)
    assert locate("owner/open", offline, tmp_path) == main
    for revision in ("v1", OLDER):
        assert locate("owner/open", offline, tmp_path, REVISION=revision, HF_HUB_OFFLINE="1") == tagged
    assert locate("owner/open", offline, tmp_path, REVISION="v2") == (
        "owner/open at revision 'v2': not in the local cache, and the hub cannot be reached; "
        "use a folder, or --config config/smoke.yaml"
    )


@pytest.mark.slow
def test_an_unknown_revision_names_the_setting(tmp_path: Path) -> None:
    with hub() as endpoint:
        assert locate("owner/open", endpoint, tmp_path, REVISION="nowhere") == (
            "owner/open at revision 'nowhere': the model has no such revision; check model_revision"
        )


def test_a_revision_of_a_local_model_is_refused(tmp_path: Path) -> None:
    for model in ("embedded", str(tmp_path)):
        with pytest.raises(ModelUnavailable) as caught:
            model_loader.locate(model, revision="main")
        assert str(caught.value) == (
            f"{model}: model_revision is for models on the hub, and this one is on this machine; remove it"
        )
    assert commit_of(str(tmp_path)) is None


@pytest.mark.slow
def test_a_gated_model_names_its_licence_page_and_the_token(tmp_path: Path) -> None:
    with hub() as endpoint:
        assert locate("owner/gated", endpoint, tmp_path) == (
            f"owner/gated: gated; accept its licence at {endpoint}/owner/gated, "
            "then set HF_TOKEN to a token of that account"
        )


@pytest.mark.slow
def test_an_unknown_model_is_not_on_the_hub(tmp_path: Path) -> None:
    with hub() as endpoint:
        assert locate("owner/none", endpoint, tmp_path) == (
            "owner/none: not on the hub, or private; check the name, or set HF_TOKEN to a token that may read it"
        )


@pytest.mark.slow
def test_a_hub_in_trouble_is_named_with_its_status(tmp_path: Path) -> None:
    with hub() as endpoint:
        said = locate("owner/broken", endpoint, tmp_path)
    assert said == "owner/broken: the hub answered with status 500; try again later, or use a folder"


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_offline_and_not_cached_names_the_ways_out(tmp_path: Path, environment: dict[str, str]) -> None:
    assert locate("owner/open", "http://127.0.0.1:9", tmp_path, **environment) == (
        "owner/open: not in the local cache, and the hub cannot be reached; use a folder, or --config config/smoke.yaml"
    )


@pytest.mark.slow
def test_an_invalid_model_name_is_refused(tmp_path: Path) -> None:
    assert locate("no/such/folder", "http://127.0.0.1:9", tmp_path) == (
        "no/such/folder: neither a folder nor a hub name of the form owner/name"
    )


@pytest.mark.slow
def test_a_datasets_file_comes_with_its_commit_and_next_from_the_cache(tmp_path: Path) -> None:
    with hub() as endpoint:
        assert said_by(FETCH, "owner/open", endpoint, tmp_path) == [f"{SHA} 1 rows.jsonl"]
    offline = said_by(FETCH, "owner/open", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert offline == [f"{SHA} 1 rows.jsonl"]


@pytest.mark.slow
def test_a_dataset_that_cannot_be_fetched_names_the_file_and_the_key(tmp_path: Path) -> None:
    instead = "download rows.jsonl on another machine and set benchmark_file to its path"
    offline = said_by(FETCH, "owner/open", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert offline == [f"datasets/owner/open: not in the local cache, and the hub cannot be reached; {instead}"]
    with hub() as endpoint:
        assert said_by(FETCH, "owner/none", endpoint, tmp_path) == [
            "datasets/owner/none: not on the hub, or private; check the name, "
            "or set HF_TOKEN to a token that may read it"
        ]
        broken = said_by(FETCH, "owner/broken", endpoint, tmp_path)
    assert broken == [f"datasets/owner/broken: the hub answered with status 500; try again later, or {instead}"]
