"""README names every flag, setting, file and module; nothing can be added without it."""

import json
import re
import subprocess
from pathlib import Path

import main
from bench.run_folder import RUN_FILES
from bench.settings import RunConfig

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LATER = {"report.html", "wandb", "run.log.*"}  # written by W&B and by rotation, or by a later version


def test_every_flag_is_in_the_readme() -> None:
    parsers = (main.run_parser(), main.score_parser())
    flags = {word for parser in parsers for action in parser._actions for word in action.option_strings}
    assert [flag for flag in sorted(flags - {"-h"}) if f"`{flag}`" not in README] == []


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", README, re.MULTILINE))
    for key, field in RunConfig.model_fields.items():
        shown = "none" if field.default is None else json.dumps(field.default).strip('"')
        assert rows.get(key) == f"`{shown}`", key


def test_every_file_of_a_run_is_in_the_readme() -> None:
    names = {name.replace("*", "<id>") for name in RUN_FILES if name not in LATER}
    assert [name for name in sorted(names) if f"`{name}`" not in README] == []


def test_every_module_is_in_the_tree_of_the_readme() -> None:
    tree = README[README.index("## The tree") :]
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for path in map(Path, listed.stdout.split()):
        if path.parts[0] not in {"tests", "benchmarks", "scripts"} and path.name != "__init__.py":
            assert path.name in tree, path
