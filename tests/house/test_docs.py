"""README names every flag and file; scripts/check sees to its settings and modules."""

from swarmeval import cli
from swarmeval.runs.folder import RUN_FILES
from tests.support.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LATER = {"wandb", "run.log.*"}  # written by W&B and by rotation, or by a later version


def test_every_flag_is_in_the_readme() -> None:
    parsers = [cli.make_parser(name) for name in (None, *cli.COMMANDS)]
    flags = {word for parser in parsers for action in parser._actions for word in action.option_strings}
    assert [flag for flag in sorted(flags - {"-h"}) if f"`{flag}`" not in README] == []


def test_every_file_of_a_run_is_in_the_readme() -> None:
    names = {name.replace("*", "<id>") for name in RUN_FILES if name not in LATER}
    assert [name for name in sorted(names) if f"`{name}`" not in README] == []
