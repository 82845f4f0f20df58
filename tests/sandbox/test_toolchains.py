"""Toolchains are found or refused by package, and each tells right, wrong, failing and broken programs apart."""

import os
import subprocess
from pathlib import Path

import pytest

from swarmeval.errors import ConfigError, DataError
from swarmeval.location import ROOT
from swarmeval.sandbox.languages import LanguageEntry, languages
from swarmeval.sandbox.toolchains import Toolchain, command, find, is_wrong_answer, program_text
from swarmeval.sandbox.warm_folders import warm_up
from tests.support.toolchain_programs import TASKS

SECRET = "c0ffee"
NAMES = (
    "python", "javascript", "typescript", "cpp", "java", "go", "rust", "php", "ruby", "perl", "lua", "r", "bash",
)  # fmt: skip


def found(name: str) -> Toolchain:
    """The toolchain, warmed up. Skips the test if it is not installed."""
    try:
        toolchain = find(name)
    except ConfigError as error:
        if "is not installed" not in str(error):
            raise
        pytest.skip(str(error))
    warm_up(toolchain)
    return toolchain


def outcome(toolchain: Toolchain, text: str, folder: Path) -> str:
    (folder / toolchain.file).write_text(text, encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)}

    def run(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        filled = command(words, memory_mb=512)
        environ = environment | dict(toolchain.environment)
        return subprocess.run(filled, cwd=folder, env=environ, capture_output=True, text=True)

    if toolchain.build and run(toolchain.build).returncode:
        return "does not build"
    done = run(toolchain.run)
    if done.returncode == 0:
        return "passed" if SECRET in done.stdout.splitlines() else "did not reach its end"
    if toolchain.check and run(toolchain.check).returncode:
        return "does not build"
    is_wrong = is_wrong_answer(toolchain, done.returncode, done.stdout + done.stderr)
    return "wrong answer" if is_wrong else "raised"


def test_thirteen_languages_are_described() -> None:
    assert tuple(languages()) == NAMES == tuple(TASKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_right_wrong_failing_and_broken_programs_are_told_apart(name: str, tmp_path: Path) -> None:
    toolchain, task = found(name), TASKS[name]
    expected = {
        task.right: "passed", task.wrong: "wrong answer", task.raising: "raised", task.broken: "does not build",
    }  # fmt: skip
    outcomes = {}
    for number, code in enumerate(expected):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcomes[code] = outcome(toolchain, program_text(toolchain, code, task.tests, SECRET), folder)
    assert outcomes == expected


EARLY_EXITS = {
    "python": "raise SystemExit(0)", "javascript": "process.exit(0);", "php": "<?php exit(0);", "ruby": "exit!(0)",
    "perl": "exit 0;", "lua": "os.exit(0)", "r": "quit(status = 0)", "bash": "exit 0; f() { :",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EARLY_EXITS)
def test_a_program_that_exits_early_does_not_print_the_secret(name: str, tmp_path: Path) -> None:
    toolchain = found(name)
    text = program_text(toolchain, EARLY_EXITS[name], TASKS[name].tests, SECRET)
    assert outcome(toolchain, text, tmp_path) == "did not reach its end"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_first_words_are_absolute_and_only_memory_is_left_open(name: str) -> None:
    toolchain = found(name)
    for words in (toolchain.build, toolchain.run, toolchain.check):
        assert not words or words[0].startswith(("/", "./"))
        for word in words:
            assert not {"{file}", "{home}", "{warm}", "{command}"} & {word[i:j] for i, j in braces(word)}
    assert toolchain.version
    assert all(place.startswith("/") for place in toolchain.places)


def braces(word: str) -> list[tuple[int, int]]:
    return [(start, word.find("}", start) + 1) for start, letter in enumerate(word) if letter == "{"]


@pytest.mark.slow
def test_findings_of_go_vet_are_build_errors_as_in_go_test(tmp_path: Path) -> None:
    toolchain = found("go")
    printed = TASKS["go"].right.replace("return a + b", 'fmt.Printf("%d", "text")\n    return a + b')
    assert outcome(toolchain, program_text(toolchain, printed, TASKS["go"].tests, SECRET), tmp_path) == "does not build"


@pytest.mark.slow
def test_cpp_programs_that_set_macros_first_do_not_use_the_warm_header(tmp_path: Path) -> None:
    toolchain = found("cpp")
    strict = TASKS["cpp"].right.replace("#include<bits", "#define _GLIBCXX_DEBUG\n#include<bits")
    out_of_range = strict.replace("return a + b;", "std::vector<long> v; return v[0] * 0 + a + b;")
    assert outcome(toolchain, program_text(toolchain, out_of_range, TASKS["cpp"].tests, SECRET), tmp_path) == "raised"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Problem", "Main", "Other"])
def test_java_runs_a_public_class_of_any_name(name: str, tmp_path: Path) -> None:
    toolchain = found("java")
    candidate = f"public class {name} {{\n    static void helper() {{"
    tests = "    }\n    public static void main(String[] args) {\n        helper();\n    }\n\n}\n"
    assert outcome(toolchain, program_text(toolchain, candidate, tests, SECRET), tmp_path) == "passed"


@pytest.mark.slow
def test_typescript_reports_the_errors_that_tsc_reports(tmp_path: Path) -> None:
    toolchain = found("typescript")
    lines = ["const n: number = 'text';", "let a = undeclared;", "const name = 1;", "class Map { }", "let b = (;"]
    for line in lines:
        (tmp_path / toolchain.file).write_text(f"{line}\nconsole.log(1);\n", encoding="utf-8")
        published = subprocess.run(
            ["tsc", "--target", "esnext", toolchain.file], cwd=tmp_path, capture_output=True, text=True
        )
        own = subprocess.run(toolchain.build, cwd=tmp_path, capture_output=True, text=True)
        errors = [error for error in published.stdout.splitlines() if error.startswith(toolchain.file)]
        assert own.stdout.splitlines()[: len(errors)] == errors != []
        assert own.returncode == published.returncode == 2


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        find("cobol")
    assert str(error.value) == f"language is 'cobol'; use one of {', '.join(NAMES)}"


@pytest.mark.parametrize(
    ("name", "package"), [("go", "golang-go"), ("lua", "lua5.4"), ("java", "default-jdk-headless")]
)
def test_a_missing_toolchain_is_refused_by_package(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as error:
        find(name)
    assert str(error.value) == f"{name}: {languages()[name].command!r} is not installed; run: apt install {package}"


def made_up(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_missing_library_is_refused_by_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(tmp_path, "lua", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as error:
        find("lua")
    assert str(error.value) == "lua: 'luaunit' is not installed; run: apt install lua-unit"


def test_a_toolchain_outside_the_system_is_among_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    real = made_up(tmp_path, "lua-5.4", "echo Lua 5.4")
    (tmp_path / "bin" / "lua").symlink_to(real)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    toolchain = find("lua")
    assert toolchain.version == "Lua 5.4"
    assert toolchain.run == (str(real), "program.lua")
    assert str(real) in toolchain.places


def test_another_interpreter_can_take_the_place_of_the_entrys_own(tmp_path: Path) -> None:
    other = made_up(tmp_path, "other-lua", "echo Lua 9")
    assert find("lua", command=str(other)).version == "Lua 9"


def test_tests_without_a_place_for_the_ending_are_refused() -> None:
    entry = languages()["cpp"]
    with pytest.raises(DataError) as error:
        program_text(bare("cpp", entry), "int f() {", "no closing brace", SECRET)
    assert str(error.value) == f"cpp: the tests must end with text that matches {entry.ending.before!r}"


@pytest.mark.parametrize("name", NAMES)
def test_the_ending_is_the_last_statement_of_the_tests(name: str) -> None:
    entry, task = languages()[name], TASKS[name]
    text = program_text(bare(name, entry), task.right, task.tests, SECRET)
    ending = entry.ending.code.replace("{secret}", SECRET)
    before, _, after = text.partition(f"\n{ending}\n")
    assert text.count(SECRET) == 1
    assert before + after == f"{task.right}\n{task.tests}"
    assert after.split() in ([], ["}"], ["}", "}"], ["end", "end"], ["end", "os.exit(lu.LuaUnit.run())"])


def bare(name: str, entry: LanguageEntry) -> Toolchain:
    """A toolchain that is not installed."""
    return Toolchain(
        language=name, version="", file=entry.file, build=(), run=(), check=(), environment=(), places=(), warm=None,
        failure_exit_code=entry.wrong_answer.exit_code, failure_output=entry.wrong_answer.output,
        ending=entry.ending.code, ending_before=entry.ending.before,
    )  # fmt: skip


def test_the_install_line_has_every_package() -> None:
    script = (ROOT / "scripts" / "toolchains").read_text(encoding="utf-8").split()
    packages = {entry.package for entry in languages().values()}
    packages |= {need.package for entry in languages().values() for need in entry.needs}
    assert packages - {"python3", "bash", "perl"} - set(script) == set()
