"""`python main.py serve` as a user starts and stops it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import httpx2
import pytest

from tests.support.checkout import ROOT

pytestmark = pytest.mark.slow

READY = re.compile(r"ready: (http://\S+/v1), model scripted, 4 rows")
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}


class Command:
    """The running command and the lines that it prints."""

    def __init__(self, folder: Path, script: Mapping[str, object], environ: Mapping[str, str], *settings: str) -> None:
        (folder / "script.json").write_text(json.dumps(script))
        words = ["engine=scripted", f"model_id={folder / 'script.json'}", *(settings or ["serve.port=0"])]
        self.process = subprocess.Popen(
            [sys.executable, "main.py", "serve", "--config", "config/smoke.yaml", "--set", *words],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def url(self) -> str:
        """The server's address, after waiting until it is ready."""
        while (line := self._lines.get(timeout=60)) is not None:
            if match := READY.fullmatch(line):
                return match[1]
        raise AssertionError(self.said)

    def ended(self) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said.append(line.rstrip("\n"))
                self._lines.put(self.said[-1])
        self._lines.put(None)


@contextmanager
def command(
    folder: Path, script: Mapping[str, object], *settings: str, environ: Mapping[str, str] | None = None
) -> Iterator[Command]:
    started = Command(folder, script, environ or {}, *settings)
    try:
        yield started
    finally:
        started.process.kill()
        started.ended()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_end_lets_what_has_begun_finish(tmp_path: Path, number: signal.Signals) -> None:
    with command(tmp_path, {"rows": 4, "steps": 100, "step_s": 0.01}) as server:
        url = server.url()
        with httpx2.stream("POST", f"{url}/chat/completions", json={**CHAT, "stream": True}) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")
            server.process.send_signal(number)
            assert list(lines)[-2] == "data: [DONE]"
        assert server.ended() == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with command(tmp_path, {"rows": 4, "steps": 10_000, "step_s": 0.01}) as server:
        url = server.url()
        with httpx2.stream("POST", f"{url}/chat/completions", json={**CHAT, "stream": True}) as answer:
            assert next(answer.iter_lines()).startswith("data: ")
            server.process.send_signal(signal.SIGTERM)
            while not any(line.startswith("stopping: ") for line in server.said):
                server.process.poll()
            server.process.send_signal(signal.SIGTERM)
            assert server.ended() == 0


def test_a_server_whose_reader_has_gone_can_be_stopped(tmp_path: Path) -> None:
    """Its last messages are lost, but it still stops."""
    reading, writing = os.pipe()
    words = ["engine=scripted", "model_id=scripted", "serve.port=0"]
    with subprocess.Popen(
        [sys.executable, "main.py", "serve", "--config", "config/smoke.yaml", "--set", *words],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing,
    ) as process:  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as lines:
            while not lines.readline().startswith("ready: "):
                assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with command(tmp_path, {"rows": 4}, f"serve.port={port}") as server:
            assert server.ended() == 2
            assert server.said == [
                f"swarmeval: serve.host 127.0.0.1, serve.port {port}: cannot listen there (Address already in use); "
                "choose another"
            ]


def test_replicas_that_cannot_be_loaded_end_it(tmp_path: Path) -> None:
    with command(tmp_path, {"faults": [{"kind": "load_raise", "lives": 9}]}) as server:
        assert server.ended() == 2
        assert server.said[-1] == "swarmeval: cpu:0: the script finds no device"


def test_the_key_is_required_and_never_shown(tmp_path: Path) -> None:
    with command(tmp_path, {"rows": 4}, environ={"SWARMEVAL_API_KEY": "a-planted-key"}) as server:
        url = server.url()
        assert httpx2.get(f"{url}/models").status_code == 401
        shown = httpx2.get(f"{url}/models", headers={"authorization": "Bearer a-planted-key"})
        assert shown.status_code == 200
        server.process.terminate()
        assert server.ended() == 0
        assert not any("a-planted-key" in line for line in server.said)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("environ", [{}, {"SWARMEVAL_API_KEY": "a-planted-key"}])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_example_that_it_prints_works_as_pasted(tmp_path: Path, environ: dict[str, str], host: str) -> None:
    with command(tmp_path, {"rows": 4}, f"serve.host={host}", "serve.port=0", environ=environ) as server:
        server.url()
        while not server.said[-1].startswith("  -d "):
            server.process.poll()
        begin = next(number for number, line in enumerate(server.said) if line.startswith("curl "))
        example = "\n".join(server.said[begin:])
        environment = {**os.environ, "SWARMEVAL_API_KEY": "", **environ}
        done = subprocess.run(["bash", "-c", f"{example} -s"], env=environment, capture_output=True, check=True)
        assert json.loads(done.stdout)["choices"][0]["message"]["content"]
        assert max(map(len, server.said[begin - 1 :])) <= 120


def test_an_open_door_is_warned_of(tmp_path: Path) -> None:
    with command(tmp_path, {"rows": 4}, "serve.host=0.0.0.0", "serve.port=0") as server:
        while not server.said:
            server.process.poll()
        assert server.said[0] == (
            "swarmeval: serve.host is 0.0.0.0 and SWARMEVAL_API_KEY is not set: anyone who can reach this machine "
            "can use the model"
        )


def test_more_connections_than_the_process_may_have_files_is_one_line() -> None:
    words = [sys.executable, "main.py", "serve", "--config", "config/smoke.yaml", "--set", "serve.connections=50000"]
    shell = ["bash", "-c", 'ulimit -n 4096 && exec "$@"', "bash", *words]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "swarmeval: serve.connections is 50000, which needs 52304 open files; the limit is 4096 (ulimit -Hn); "
        "lower serve.connections or raise the limit\n"
    )


def test_a_low_limit_of_open_files_is_raised_for_its_connections() -> None:
    program = (
        "import resource; from swarmeval.serving.http import allow_files; allow_files(1000); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    shell = ["bash", "-c", 'ulimit -Sn 256 && ulimit -Hn 4096 && exec "$@"', "bash", sys.executable, "-c", program]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == 1000 + 2048 + 256


def test_settings_that_clients_state_are_named_as_ignored(tmp_path: Path) -> None:
    with command(tmp_path, {"rows": 4}, "serve.port=0", "system_prompt=A", "assistant_prefill=B") as serving:
        serving.url()
        said = "swarmeval: serve: ignored, because clients state them: system_prompt, assistant_prefill"
        assert serving.said[0] == said
