"""Compilers run in the jail of their program: they read no more than it, and change nothing for the next one."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from swarmeval.errors import ConfigError
from swarmeval.executed import Case, Executed
from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox.runner import Sandbox
from swarmeval.sandbox.toolchains import Toolchain
from swarmeval.sandbox.warm_folders import ready

pytestmark = pytest.mark.slow
PATHS = ("/etc/passwd", "/proc/1/environ", "/root/.profile", "/etc/shadow")
READ = {
    "cpp": [
        *(f'#include "{path}"\nint main() {{ __builtin_puts("hello"); }}' for path in PATHS),
        'asm(".incbin \\"/etc/passwd\\"");\nint main() { __builtin_puts("hello"); }',
        '#if __has_include("/etc/passwd")\n#error found\n#else\nint main() { __builtin_puts("hello\\n"); }\n#endif',
    ],
    "rust": [f'fn main() {{ println!("hello{{}}", include_str!("{path}").len()); }}' for path in PATHS],
    "go": [
        'package main\n\n/*\n#include "/etc/passwd"\n*/\nimport "C"\n\nfunc main() { println("hello") }',
        'package main\n\nimport _ "embed"\n\n//go:embed /etc/passwd\nvar a string\n\nfunc main() { println(a) }',
    ],
}

WRITE = """
for place in {places}; do
  touch "$place/left" && echo "$place"
  for file in $(find "$place" -type f | head -n 3); do
    (echo x >> "$file") && echo "$file"; rm "$file" && echo "$file"; ln "$file" here && echo "$file"
  done
  chmod 777 "$place" && echo "$place"
  mv "$place" ./moved && echo "$place"
done 2> /dev/null
echo hello
"""


def toolchains(*languages: str) -> dict[str, Toolchain]:
    """The toolchains, warmed up. Skips the test if one is not installed."""
    try:
        return ready(languages)
    except ConfigError as error:
        if "is not installed" not in str(error):
            raise
        pytest.skip(str(error))


def run(found: Mapping[str, Toolchain], *programs: tuple[str, str]) -> list[Execution]:
    async def all_of_them() -> list[Execution]:
        async with Sandbox(2, 10.0, 512, toolchains=found) as sandbox:
            if missing := sandbox.missing():
                pytest.skip(f"this machine lacks {missing}")
            return await asyncio.gather(
                *(
                    sandbox.run(Program(text, executed=Executed(language, (Case(expected="hello"),))))
                    for language, text in programs
                )
            )

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("language", list(READ))
def test_no_compiler_reads_what_its_program_cannot(language: str) -> None:
    found = run(toolchains(language), *((language, text) for text in READ[language]))
    outcomes = [one.outcome for one in found]
    has_condition = language == "cpp"  # whether the last program only asks for the file
    expected = [Outcome.BAD_SYNTAX] * (len(found) - has_condition) + [Outcome.PASSED] * has_condition
    assert outcomes == expected


def test_no_program_changes_a_warm_folder() -> None:
    found = toolchains("bash", "cpp")
    warm = found["cpp"].warm
    assert warm is not None
    before = state(Path(warm.folder))
    places = [warm.folder, *found["cpp"].places]
    assert [one.outcome for one in run(found, ("bash", WRITE.format(places=" ".join(places))))] == [Outcome.PASSED]
    assert state(Path(warm.folder)) == before


def test_a_go_program_may_import_packages_that_are_not_warm() -> None:
    text = 'package main\n\nimport ("fmt"; "net/url")\n\nfunc main() { fmt.Println(url.PathEscape("hello")) }'
    assert [one.outcome for one in run(toolchains("go"), ("go", text))] == [Outcome.PASSED]


def state(folder: Path) -> list[tuple[str, int, int, int]]:
    return sorted(
        (str(path), path.stat().st_mode, path.stat().st_size, path.stat().st_nlink) for path in folder.rglob("*")
    )
