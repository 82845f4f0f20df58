"""Carries out action.yml: runs the command, then writes the step's summary and outputs. Needs no installed package.

The inputs are variables: INPUT_COMMAND, INPUT_CONFIG, ... Paths are relative to the current folder.
"""

import contextlib
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MAIN = Path(__file__).resolve().parent.parent / "main.py"
RUNS = ("benchmark", "num_tasks", "fail_under", "junit")
NEEDS = {"run": ("config",), "score": ("replies",), "compare": ("baseline", "candidate")}
ALLOWS = {"run": RUNS, "score": RUNS, "compare": ("fail_on",)}
FLAGS = {"benchmark": "--benchmark", "num_tasks": "--num_tasks", "junit": "--junit", "fail_on": "--fail-on"}
FREE = ("command", "output_dir", "arguments")
MEANINGS = {1: "some jobs got no reply", 2: "something must be changed first", 3: "a gate was missed"}
MUST_CHANGE = 2
FENCE = "`" * 4


def inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """The inputs that are not empty."""
    names = {*FREE, *(name for table in (NEEDS, ALLOWS) for names in table.values() for name in names)}
    values = {name: environ.get(f"INPUT_{name.upper()}", "").strip() for name in names}
    return {name: value for name, value in values.items() if value}


def command_line(given: Mapping[str, str]) -> list[str]:
    """The arguments for main.py. Raises ValueError for an input that is missing or that the command does not use."""
    command = given.get("command", "run")
    if command not in NEEDS:
        raise ValueError(f"command is {command!r}; use one of {', '.join(NEEDS)}")
    for name in NEEDS[command]:
        if name not in given:
            raise ValueError(f"command {command} needs the input {name}")
    unused = sorted(given.keys() - {*NEEDS[command], *ALLOWS[command], *FREE})
    if unused:
        raise ValueError(f"command {command} does not use the input {unused[0].replace('_', '-')}; remove it")
    check_words(given)
    words = ["--config", given["config"]] if command == "run" else [command, *(given[one] for one in NEEDS[command])]
    for name in ALLOWS[command]:
        if name in FLAGS and name in given:
            words += [FLAGS[name], given[name]]
    if "fail_under" in given:
        words += ["--fail-under", *given["fail_under"].split()]
    if folder := folder_of(given):
        words += ["--output_dir", folder]
    try:
        return [*words, *shlex.split(given.get("arguments", ""))]
    except ValueError as error:
        raise ValueError(f"arguments: {error}; quote them as in a shell") from None


def check_words(given: Mapping[str, str]) -> None:
    """Raise ValueError for an input that would be read as a flag, or add lines to the log and to the outputs."""
    for name in sorted(given.keys() - {"arguments"}):  # these are words of a command line
        value = " ".join(given[name].split()) if name == "fail_under" else given[name]
        if value.startswith("-") or not value.isprintable():
            raise ValueError(f"{name.replace('_', '-')} is {value!r}; use one line that does not start with '-'")


def folder_of(given: Mapping[str, str]) -> str:
    """The folder of the result files; none for a comparison."""
    return "" if given.get("command") == "compare" else given.get("output_dir", "logs/action")


def run(words: Sequence[str]) -> tuple[int, list[str]]:
    """Run main.py and pass its lines on; return the exit code and the lines."""
    process = subprocess.Popen(
        [sys.executable, str(MAIN), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    while True:
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                lines.append(line.rstrip("\n"))
            return process.wait(), lines
        except KeyboardInterrupt:  # the run stops cleanly, and says so
            process.send_signal(signal.SIGINT)


def summary(given: Mapping[str, str], code: int, lines: Sequence[str], score: Mapping[str, Any] | None) -> str:
    """The step's summary in Markdown."""
    command = given.get("command", "run")
    parts = [f"### Swarmeval {command}" if command in NEEDS else "### Swarmeval"]
    if score is not None:
        rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in _rows(score))
        parts.append(f"| | |\n|---|---|\n{rows}")
    elif code in (0, 3):
        parts.append(_fenced(lines))
    if code:
        parts.append(f"**Exit code {code}**: {MEANINGS.get(code, 'see the log')}")
        if notes := [line for line in lines if line.startswith("swarmeval: ")]:
            parts.append(_fenced(notes))
    return "\n\n".join(parts) + "\n"


def _rows(score: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for metric in ("pass@1", "pass@10", "pass@100"):
        if (value := score.get(metric)) is None:
            continue
        interval = score.get("intervals", {}).get(metric)
        around = f" (95 % CI {100 * interval[0]:.1f}-{100 * interval[1]:.1f} %)" if interval else ""
        yield metric, f"{100 * value:.1f} %{around}"
    passed, of = score.get("passed", 0), score.get("evaluations", 0)
    yield "answers", f"{passed} of {of} passed, {score.get('total')} tasks of {score.get('benchmark')}"
    yield "outcomes", ", ".join(f"{count} {outcome}" for outcome, count in score.get("outcomes", {}).items())
    if score.get("model_id"):
        yield "model", str(score["model_id"])
    if score.get("partial"):
        yield "partial", f"{score.get('failures')} failures"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")


def _fenced(lines: Sequence[str]) -> str:
    return "\n".join([FENCE, *(line.replace(FENCE, "'") for line in lines), FENCE])


def main(environ: Mapping[str, str]) -> int:
    """Run the command of the inputs; return its exit code."""
    given, score = inputs(environ), None
    folder = folder_of(given)
    try:
        words = command_line(given)
    except ValueError as error:
        code, lines, folder = MUST_CHANGE, [f"swarmeval: {error}"], ""
        sys.stdout.write(f"{lines[0]}\n")
    else:
        with uninterpreted(environ):
            sys.stdout.write(f"$ python main.py {shlex.join(words)}\n")
            code, lines = run(words)
    if folder:
        with contextlib.suppress(FileNotFoundError):  # refused before anything was created
            score = json.loads(Path(folder, "score.json").read_text(encoding="utf-8")) if code != MUST_CHANGE else None
    shown = "" if score is None or score.get("pass@1") is None else score["pass@1"]
    values = {"exit-code": code, "pass-at-1": shown, "folder": folder if Path(folder or ".").is_dir() else ""}
    append(environ.get("GITHUB_OUTPUT"), "".join(f"{name}={value}\n" for name, value in values.items()))
    append(environ.get("GITHUB_STEP_SUMMARY"), summary(given, code, lines, score))
    if code:
        cause = next((line for line in reversed(lines) if line.startswith("swarmeval: ")), "")
        message = cause or MEANINGS.get(code, f"exit code {code}")
        sys.stdout.write(f"::error title=Swarmeval::{message.replace('%', '%25')}\n")
    return code


@contextlib.contextmanager
def uninterpreted(environ: Mapping[str, str]) -> Iterator[None]:
    """Keep the runner from carrying out lines of the log that start with "::": they may hold a model's words."""
    mark = secrets.token_hex(16)
    on_runner = bool(environ.get("GITHUB_ACTIONS"))
    if on_runner:
        sys.stdout.write(f"::stop-commands::{mark}\n")
        sys.stdout.flush()
    try:
        yield
    finally:
        if on_runner:
            sys.stdout.write(f"::{mark}::\n")


def append(path: str | None, text: str) -> None:
    """Add text to a file of the runner; outside of a runner there is none."""
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    sys.exit(main(os.environ))
