"""A real headless Chromium, controlled over the DevTools protocol through two pipes. Standard library only."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip


def chromium() -> str | None:
    """The browser's path, or None if it is not installed."""
    return next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)


NEEDS_CHROMIUM = pytest.mark.skipif(chromium() is None, reason="needs Chromium (Debian: apt install chromium)")


class BrowserError(Exception):
    """The browser refused a command, or a script raised."""


class Page:
    """One browser page, with its console messages and the dialogs that it opened."""

    def __init__(self, write: int, read: int) -> None:
        self._write = write
        self._read = read
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        self.complaints: list[str] = []  # console errors and warnings, uncaught exceptions, failed requests
        self.dialogs: list[str] = []
        self.requests: list[str] = []

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a file and wait until its scripts have run."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited. Raises BrowserError if the expression throws."""
        reply = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in reply:
            raise BrowserError(json.dumps(reply["exceptionDetails"]))
        return reply["result"].get("value")

    def until(self, condition: str, frames: int = 600) -> None:
        """Wait frame by frame until a condition holds. Raises BrowserError after `frames` frames."""
        waiting = (
            f"new Promise(done => {{ let left = {frames}; const look = () => ({condition}) ? done(true) : "
            "left-- ? setTimeout(look, 16) : done(false); look(); })"
        )
        if not self.run(waiting):
            raise BrowserError(f"never became true: {condition}")

    def picture(self, whole: bool = True) -> str:
        """The page as PNG, in base64."""
        return str(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The result of one DevTools command. Raises BrowserError."""
        self._number += 1
        number = self._number
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._receive()
            if reply.get("id") == number:
                if "error" in reply:
                    raise BrowserError(f"{method}: {reply['error']}")
                return dict(reply["result"])
            self._note(reply)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._read, 1 << 16)
            if not piece:
                raise BrowserError("the browser is gone")
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Page.javascriptDialogOpening":
            self.dialogs.append(parameters["message"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])


@contextlib.contextmanager
def page(profile: Path) -> Iterator[Page]:
    """A page of a new browser with its profile in this new folder; both are removed afterwards."""
    browser = chromium()
    assert browser is not None
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()

    def place_pipes() -> None:  # descriptors that the protocol prescribes: 3 to read from, 4 to write to
        one, other = os.dup(commands), os.dup(answers)
        os.dup2(one, 3)
        os.dup2(other, 4)

    process = subprocess.Popen(
        [browser, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=place_pipes, pass_fds=(3, 4), start_new_session=True,
    )  # fmt: skip
    os.close(commands)
    os.close(answers)
    try:
        yield Page(to_browser, from_browser)
    finally:
        os.close(to_browser)
        os.close(from_browser)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def quiet(profile: Path, file: Path, title: str) -> Iterator[Page]:
    """The file in a browser. Fails if the page causes console messages or loads anything during the test."""
    with page(profile) as shown:
        shown.open(file)
        yield shown
        assert shown.complaints == []
        assert shown.dialogs == []
        assert [url for url in shown.requests if not url.startswith(("file:", "data:"))] == []
        assert shown.run("document.title") == title


def choose(shown: Page, select: str, words: str) -> None:
    """Choose the entry with this label."""
    shown.run(f"(() => {{ const s = document.getElementById('{select}'); "
              f"s.value = [...s.options].find(o => o.textContent === {words!r}).value; "
              "s.dispatchEvent(new Event('change')); })()")  # fmt: skip


# Finds labels that overlap each other and labels that extend beyond their chart.
OVERPRINTED = """[...document.querySelectorAll('svg[role=img]')].flatMap(chart => {
  const edge = chart.getBoundingClientRect();
  const labels = [...chart.querySelectorAll('text')].filter(label => getComputedStyle(label).visibility !== 'hidden')
    .map(label => [label.textContent, label.getBoundingClientRect()]).filter(([, box]) => box.width);
  const meet = (a, b) => a.left < b.right - .5 && b.left < a.right - .5 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  return labels.flatMap(([words, box], k) => [
    ...labels.slice(k + 1).filter(([, other]) => meet(box, other)).map(([other]) => `${words} over ${other}`),
    ...(box.left < edge.left - 1 || box.right > edge.right + 1 ? [`${words} leaves its chart`] : []),
  ]);
})"""


class ReportPage:
    """Claims that hold for every report page. A test class inherits them and provides a fixture `report`."""

    @pytest.mark.parametrize("width", [390, 1280])
    def test_nothing_is_wider_than_the_screen(self, report: Path, tmp_path: Path, width: int) -> None:
        with page(tmp_path / "profile") as shown:
            shown.open(report, width=width)
            assert shown.run("document.documentElement.scrollWidth") <= width

    @pytest.mark.parametrize("width", [390, 1280])
    def test_no_label_of_a_chart_overprints_another(self, report: Path, tmp_path: Path, width: int) -> None:
        with page(tmp_path / "profile") as shown:
            shown.open(report, width=width)
            assert shown.run("document.querySelectorAll('svg[role=img] text').length") > 10
            assert shown.run(OVERPRINTED) == []

    def test_it_is_dark_where_the_system_is_and_the_button_changes_that(self, report: Path, tmp_path: Path) -> None:
        colour = "getComputedStyle(document.body).backgroundColor"
        with page(tmp_path / "profile") as shown:
            shown.open(report, dark=True)
            assert shown.run(colour) == "rgb(20, 23, 26)"
            shown.run("document.getElementById('theme').click()")
            assert shown.run(colour) == "rgb(253, 253, 252)"
