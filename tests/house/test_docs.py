"""README names every flag and file; scripts/check covers its settings and modules."""

import re

from swarmeval import cli
from swarmeval.runs.folder import RUN_FILES
from tests.support.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LATER = {"wandb", "run.log.*"}  # written by W&B and by rotation, or by a later version


def test_every_flag_is_in_the_readme() -> None:
    helps = [cli.make_parser(name).format_help() for name in (None, *cli.COMMANDS)]
    flags = {word for text in helps for word in re.findall(r"(?<![\w-])--?[A-Za-z]\w*", text)}
    assert {"--config", "--output_dir", "--extractors"} <= flags
    assert [flag for flag in sorted(flags - {"-h"}) if f"`{flag}`" not in README] == []


def test_every_file_of_a_run_is_in_the_readme() -> None:
    names = {name.replace("*", "<id>") for name in RUN_FILES if name not in LATER}
    assert [name for name in sorted(names) if f"`{name}`" not in README] == []
