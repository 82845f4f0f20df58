"""This checkout's folder, and small copies of its scripts that tests run without touching it."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOORS = ("scripts/setup", "scripts/demo", "scripts/check", "scripts/test", "scripts/docs", "scripts/audit", ".ci/run")
TOOLS = (
    "awk", "bash", "cat", "cksum", "cut", "df", "dirname", "env", "find", "flock", "grep", "head", "mkdir", "mv", "rm",
    "sed", "sh", "tail",
)  # fmt: skip
Run = subprocess.CompletedProcess[str]


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    return path


class Checkout:
    """A copy of the scripts with its own requirements, PATH and package wheels."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.bin = folder / "bin"
        self.wheels = folder / "wheels"
        for made in (self.bin, self.wheels, self.root / "scripts", self.root / ".ci"):
            made.mkdir(parents=True)
        for script in (*DOORS, "scripts/extras.py", "scripts/cached_tool"):
            shutil.copy2(ROOT / script, self.root / script)
        for tool in TOOLS:
            if tool_path := shutil.which(tool):
                (self.bin / tool).symlink_to(tool_path)
        self.write("requirements.txt", "")
        self.write_extras(dev=[], ray=[])
        self.write_bundled("")
        self.env = {"PATH": str(self.bin), "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1",
                    "PIP_FIND_LINKS": str(self.wheels), "HOME": str(folder)}  # fmt: skip

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def write_extras(self, dev: list[str], ray: list[str]) -> None:
        self.write("pyproject.toml", f"[project.optional-dependencies]\ndev = {dev}\nray = {ray}\n")

    def write_bundled(self, pinned: str) -> None:
        self.write("swarmeval/engine/bundled_model.py", f'PACKAGE = "model"\nPINNED = "{pinned}"  # read by setup\n')

    def command(self, name: str, script: str) -> Path:
        return executable(self.bin / name, script)

    def start(self, door: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / door, *arguments],
            env=self.env | env,
            cwd=self.root.parent,  # scripts work from any folder
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, door: str, *arguments: str, **env: str) -> Run:
        process = self.start(door, *arguments, **env)
        out, err = process.communicate(timeout=120)
        return Run(door, process.returncode, out, err)

    def imports(self, *modules: str) -> bool:
        python = [str(self.root / ".venv/bin/python"), "-c", f"import {', '.join(modules)}"]
        return subprocess.run(python, capture_output=True).returncode == 0
