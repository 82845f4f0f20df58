"""Hostile programs in every language: the sandbox contains them, and doctor reports those that it does not."""

import asyncio
import json
from pathlib import Path

import pytest

from swarmeval.doctor.hostile_programs import (
    ALLOWED,
    MEMORY_MB,
    TIMEOUT_S,
    executed_finding,
    hostile_programs,
    not_tried,
    sources,
    uncontained,
)
from swarmeval.doctor.judging import executed_programs
from swarmeval.errors import ConfigError
from swarmeval.sandbox.languages import languages
from swarmeval.sandbox.runner import Sandbox
from swarmeval.sandbox.warm_folders import ready
from swarmeval.settings.run_config import RunConfig


def test_every_language_has_a_hostile_program_of_every_kind() -> None:
    assert list(sources()) == list(languages())
    assert [set(texts) for texts in sources().values()] == [{*ALLOWED, "tests"}] * len(languages())


@pytest.mark.slow
@pytest.mark.parametrize("language", list(languages()))
def test_the_sandbox_contains_the_hostile_programs_of(language: str) -> None:
    try:
        toolchains = ready([language])
    except ConfigError as error:
        pytest.skip(str(error))
    finding = asyncio.run(executed_finding(toolchains, workers=2, mode="auto"))
    if finding.state == "note":
        pytest.skip(finding.text)
    assert (finding.state, finding.remedy) == ("ok", ""), finding.text
    assert finding.text.startswith(f"6 hostile programs in {language}: all contained (")


def test_doctor_says_what_executed_programs_can_do_without_layers() -> None:
    finding = not_tried(["landlock", "processes"])
    lacks = "executed programs lack landlock, processes"
    assert finding.text == f"not tried: {lacks}; not blocked: processes beyond its limit"
    assert finding.caveat == f"{lacks}: programs can start any number of processes"
    assert not_tried(["seccomp"]).caveat.endswith(": the other layers block all known hostile programs")
    assert "fill the disk" in not_tried(["namespaces"]).caveat


def test_without_a_sandbox_no_hostile_program_is_tried() -> None:
    finding = asyncio.run(executed_finding({}, workers=1, mode="none"))
    assert (finding.state, finding.text) == ("note", "not tried: sandbox.mode: none")


@pytest.mark.slow
def test_doctor_tries_the_languages_of_the_benchmark(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    row = {"task_id": "one", "language": "python", "question": "Print 1.", "cases": [{"expected": "1"}]}
    tasks.write_text(json.dumps(row), encoding="utf-8")
    config = RunConfig(benchmark="custom", benchmark_file=str(tasks), eval_workers=2)
    (finding,) = executed_programs(config)
    assert (finding.subject, finding.text.partition(":")[0]) == ("executed", "6 hostile programs in python")
    assert list(executed_programs(RunConfig())) == []


@pytest.mark.slow
def test_a_program_that_is_not_contained_is_named() -> None:
    async def found() -> list[str]:
        reach = [one for one in hostile_programs(["bash"]) if one.kind == "reach"]
        async with Sandbox(1, TIMEOUT_S, MEMORY_MB, "none", toolchains=ready(["bash"])) as sandbox:
            return await uncontained(sandbox, reach)

    assert asyncio.run(found()) == ["reach in bash"]
