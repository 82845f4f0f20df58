"""Test modules share code through tests/support, use public names only, and have names that fit a line."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.rules_for_tests import LONGEST_NAME, imports_of_tests, long_names, misplaced, parsed, private_names

# Private names of other projects, and why no public one would do.
FOREIGN = {
    "_exit": "os._exit: ends a process with no output",
    "_getframe": "sys._getframe: how a hostile program looks for its judge",
    "_attn_implementation": "transformers: the attention that a loaded model uses",
    "_is_mkldnn_bf16_supported": "torch: whether oneDNN has bf16 on this processor",
    "_python_dispatch": "torch: the module of TorchDispatchMode",
    "_pytree": "torch: the module of tree_leaves",
    "_local_scalar_dense": "torch: the name of an operation, as a trace says it",
    "_function_base_impl": "numpy: a module that a package's name is shortened from",
    "_vendor": "a folder of a made-up package, which is skipped",
}


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    """Every module of tests/, keyed by its path below tests/."""
    folder = ROOT / "tests"
    return {path.relative_to(folder): parsed(path) for path in sorted(folder.rglob("*.py"))}


def without_examples(trees: dict[Path, ast.Module]) -> dict[Path, ast.Module]:
    """All modules except this one, whose examples break the rules."""
    return {path: tree for path, tree in trees.items() if path.name != Path(__file__).name}


def expect_none(trees: dict[Path, ast.Module], problems: Callable[[ast.Module], list[str]]) -> None:
    found = [f"tests/{path}:{problem}" for path, tree in trees.items() for problem in problems(tree)]
    assert not found, "\n" + "\n".join(found)


def test_no_test_module_is_imported(trees: dict[Path, ast.Module]) -> None:
    expect_none(without_examples(trees), imports_of_tests)


def test_tests_use_public_names_only(trees: dict[Path, ast.Module]) -> None:
    expect_none(without_examples(trees), lambda tree: private_names(tree, FOREIGN))


def test_every_foreign_private_name_is_still_needed(trees: dict[Path, ast.Module]) -> None:
    used = {
        problem.split()[2].rstrip(";")
        for tree in without_examples(trees).values()
        for problem in private_names(tree, ())
    }
    assert sorted(FOREIGN.keys() - used) == []


def test_test_names_fit_a_line(trees: dict[Path, ast.Module]) -> None:
    expect_none(trees, long_names)


def test_folders_of_tests_mirror_the_packages(trees: dict[Path, ast.Module]) -> None:
    assert [problem for path in trees for problem in misplaced(path, ROOT)] == []


def test_an_import_of_a_test_module_is_named_however_it_is_written() -> None:
    source = "import tests.test_a\ndef f():\n    from tests.room import test_b\nfrom tests.support import c\n"
    source += "PROGRAM = 'from tests.room import test_d; import tests.test_e as e; tests.support.f'"
    assert imports_of_tests(ast.parse(source)) == [
        "1 imports tests.test_a; move what is shared into tests/support",
        "3 imports tests.room.test_b; move what is shared into tests/support",
        "5 imports tests.room.test_d; move what is shared into tests/support",
        "5 imports tests.test_e; move what is shared into tests/support",
    ]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import room._inner", "_inner"),
        ("from room import _hidden", "_hidden"),
        ("found = thing._hidden", "_hidden"),
        ("made().__dict__, made()._hidden", "_hidden"),
        ("setattr(thing, '_hidden', 3)", "_hidden"),
        ("monkeypatch.setattr(thing, '_hidden', 3)", "_hidden"),
        ("class Late(Base):\n    def judge(self): return super()._hidden()", "_hidden"),
        ("class Late(Base):\n    def judge(self): return self._hidden", "_hidden"),
        ("PROGRAM = 'thing._hidden.wait()'", "_hidden"),
        ("PROGRAM = f'{x}; made()._hidden'", "_hidden"),
    ],
)
def test_a_private_name_is_found_wherever_it_hides(source: str, name: str) -> None:
    assert [problem.partition(" ")[2] for problem in private_names(ast.parse(source), ())] == [
        f"uses {name}; test what can be seen from outside, or make the name public"
    ]
    assert private_names(ast.parse(source), {name}) == []


def test_classes_of_a_test_may_have_private_names_of_their_own() -> None:
    source = "class Fake:\n    def __init__(self): self._seen = 0\n    def _add(self): self._seen += 1\n    "
    source += "def go(self): self._add()\n_PATTERN = 3\nfound = _PATTERN"
    assert private_names(ast.parse(source), ()) == []
    assert private_names(ast.parse(f"{source}\nFake()._seen"), ()) != []


def test_a_name_that_is_too_long_is_named_with_its_length() -> None:
    longest = "test_" + "x" * (LONGEST_NAME - 5)
    tree = ast.parse(f"def {longest}(): pass\nclass A:\n    async def {longest}y(self): pass\n")
    assert long_names(tree) == [f"3 {longest}y has {LONGEST_NAME + 1} characters, more than {LONGEST_NAME}"]


def test_a_folder_of_tests_without_a_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "swarmeval" / "runs").mkdir(parents=True)
    (tmp_path / "swarmeval" / "runs" / "__init__.py").touch()
    for path in ("test_main.py", "runs/test_plan.py", "faults/test_disk.py"):
        assert misplaced(Path(path), tmp_path) == []
    assert misplaced(Path("bench/test_plan.py"), tmp_path) == [
        "tests/bench/test_plan.py mirrors no package: there is no swarmeval/bench"
    ]
