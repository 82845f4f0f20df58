"""README and the manual: complete, true to the parsers, short. scripts/check compares their generated parts."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

import metrics_dashboard
from scripts.manual import PARTS, renewed
from swarmeval import cli
from swarmeval.runs.folder import RUN_FILES
from swarmeval.settings import loading
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.section import keys
from tests.support.checkout import ROOT
from tests.support.manual import DOCS, INCLUDED, README, Block, anchors, blocks, pages, prose

README_LINES, README_WORDS = 250, 1800
PAGE_WORDS = range(100, 901)  # of prose: code and tables may be longer
SHORTER = {"faults.md", "performance.md", "security.md", "glossary.md", "troubleshooting.md"}
ROTATED = {"run.log.*"}
TEXTS = (README, *pages(), *INCLUDED)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
PYTHON = re.compile(r"(?:.*/)?python[\d.]*$")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def parsers() -> dict[str, argparse.ArgumentParser]:
    ours = {name: cli.make_parser(name) for name in cli.COMMANDS}
    return {"": cli.make_parser(), **ours, "metrics_dashboard.py": metrics_dashboard.make_parser()}


def test_every_setting_is_in_the_manual() -> None:
    assert [key for key in keys(RunConfig) if f"| `{key}` |" not in page("settings.md")] == []


def test_every_flag_is_in_the_manual() -> None:
    helps = [parser.format_help() for parser in parsers().values()]
    flags = {word for text in helps for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", text)}
    assert {"--config", "--output_dir", "--extractors", "--once"} <= flags
    assert [flag for flag in sorted(flags) if not re.search(f"`{flag}[` ]", page("commands.md"))] == []


def test_every_command_is_in_the_manual() -> None:
    assert [name for name in cli.COMMANDS if f"## `python main.py {name}`" not in page("commands.md")] == []


def test_every_file_of_a_run_is_in_the_manual() -> None:
    names = {name.replace("*", "<id>") for name in RUN_FILES if name not in ROTATED}
    assert [name for name in sorted(names) if not re.search(f"`{name}/?`", page("result-files.md"))] == []


def test_every_generated_part_has_its_place_and_is_found_again() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    assert [name for name in PARTS if f"<!-- generated: {name} -->" not in text] == []
    once = renewed("before\n<!-- generated: tree -->\nstale line\n<!-- end: tree -->\nafter\n")
    assert "stale line" not in once
    assert renewed(once) == once


def test_the_readme_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    assert len(text.split()) <= README_WORDS


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_page_covers_one_subject_in_few_words(path: Path) -> None:
    words = len(prose(path.read_text(encoding="utf-8")).split())
    assert words in PAGE_WORDS or (path.name in SHORTER and words < PAGE_WORDS.stop), words


def understood(block: Block) -> int:
    """Count the block's commands that are ours, and check that the code accepts each of them."""
    count = 0
    for words in block.commands():
        if PYTHON.match(words[0]):
            words = words[1:]
        elif words[0] == "swarmeval":
            words = ["main.py", *words[1:]]
        elif words[0] == "sbatch":
            words = ["main.py", *words[2:]]
        count += accepted(words)
    return count


def accepted(words: Sequence[str]) -> bool:
    """Whether a command is ours; fails if it is and would not run."""
    first, *rest = words
    if first == "main.py":
        name = rest.pop(0) if rest and rest[0] in cli.COMMANDS else None
        options = cli.make_parser(name).parse_args(rest)
        if "config" in options:
            loading.load(ROOT / options.config, loading.parse_set(options.set))
    elif first == "metrics_dashboard.py":
        metrics_dashboard.make_parser().parse_args(rest)
    elif first == "-m" and rest[0].startswith("scripts."):
        assert (ROOT / f"{rest[0].replace('.', '/')}.py").exists(), words
    elif first.startswith("benchmarks/"):
        assert (ROOT / first).exists(), words
    elif first.startswith("scripts/"):
        assert os.access(ROOT / first, os.X_OK), words
    else:
        return False
    return True


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_command_in_a_code_block_is_accepted(path: Path) -> None:
    for block in blocks(path):
        understood(block)


def test_commands_are_found_in_code_blocks() -> None:
    assert sum(understood(block) for block in blocks(*TEXTS)) > 50


@pytest.mark.parametrize("text", ["python main.py --nun_agents 3", "main.py score x.jsonl --set", "python main.py sc"])
def test_a_command_that_the_parser_refuses_is_noticed(text: str) -> None:
    with pytest.raises(SystemExit):
        understood(Block(README, "", f"python {text.removeprefix('python ')}\n"))


def test_every_yaml_block_is_a_settings_file() -> None:
    found = [block for block in blocks(*TEXTS) if block.kind == "yaml"]
    assert found
    for block in found:
        loading.validate(yaml.safe_load(block.text), str(block.page))


@pytest.mark.parametrize("path", [*TEXTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for file, anchor in LINK.findall(text):
        target = path.parent / file if file else path
        assert target.exists(), file
        if anchor:
            there = target.read_text(encoding="utf-8")
            for included in re.findall(r'^--8<-- "([^":]+)', there, re.MULTILINE):
                there += (ROOT / included).read_text(encoding="utf-8")
            assert anchor in anchors(there), f"{file}#{anchor}"
