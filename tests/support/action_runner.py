"""Carries out the shell steps of a composite GitHub action as a runner does: with bash, and files for outputs."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXPRESSION = re.compile(r"\$\{\{ *(inputs|steps)\.([\w-]+)(?:\.outputs\.([\w-]+))? *\}\}")
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")  # GitHub's command line for `shell: bash`


@dataclass
class ActionRunner:
    """The state of one use of an action: its inputs, and what its steps wrote."""

    action: Path  # its folder
    workspace: Path
    given: Mapping[str, str]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    summary: str = ""
    log: str = ""

    def step(self, name: str) -> int:
        """Run the step with this name in the workspace; return its exit code."""
        step = next(step for step in self._document()["runs"]["steps"] if step["name"] == name)
        assert step["shell"] == "bash"
        files = {key: self.workspace / f".{key}" for key in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        script = self.workspace / ".step.sh"
        script.write_text(step["run"], encoding="utf-8")
        env = {key: self._filled(str(value)) for key, value in step.get("env", {}).items()}
        runner = {"GITHUB_ACTION_PATH": str(self.action), **{key: str(file) for key, file in files.items()}}
        ended = subprocess.run(
            [*SHELL, str(script)], cwd=self.workspace, env={**os.environ, **runner, **env}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        self.outputs[step.get("id", name)] = dict(line.split("=", 1) for line in lines)
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        self.log += ended.stdout
        return ended.returncode

    def output(self, name: str) -> str:
        """An output of the action."""
        return self._filled(self._document()["outputs"][name]["value"])

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load((self.action / "action.yml").read_text(encoding="utf-8"))
        return document

    def _filled(self, text: str) -> str:
        """The text with its expressions replaced. Raises KeyError for an input that the action does not have."""
        defaults = {name: str(spec["default"]) for name, spec in self._document()["inputs"].items()}
        assert defaults.keys() >= self.given.keys()
        inputs = {**defaults, **self.given}

        def value(found: re.Match[str]) -> str:
            kind, name, output = found.groups()
            return inputs[name] if kind == "inputs" else self.outputs.get(name, {}).get(output, "")

        filled = EXPRESSION.sub(value, text)
        assert "${{" not in filled, filled
        return filled
