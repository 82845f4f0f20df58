"""Test files: their names, and that a module is written once it is answered, then dropped from memory."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.testgen.files import TestFiles, WrittenModule, file_names
from swarmeval.testgen.packages import Skips
from swarmeval.testgen.sources import Module, modules
from tests.support.made_up_package import package

PARTS = st.text("ab_B", min_size=1, max_size=4)


def test_names_are_those_of_the_modules() -> None:
    chosen = file_names(["a", "a.b.c", "a.b_c", "a.B.c", "a.b_c__2", "b.b.c"])
    assert chosen == {
        "a": "test___init__.py", "a.B.c": "test_B_c.py", "a.b.c": "test_b_c__3.py", "a.b_c": "test_b_c__4.py",
        "a.b_c__2": "test_b_c__2.py", "b.b.c": "test_b_c.py",
    }  # fmt: skip


@given(st.lists(st.lists(PARTS, min_size=1, max_size=4).map(".".join), max_size=12))
def test_no_two_modules_of_a_package_share_a_file(names: list[str]) -> None:
    chosen = file_names(names)
    assert set(chosen) == set(names)
    places = {(module.partition(".")[0], name.casefold()) for module, name in chosen.items()}
    assert len(places) == len(chosen)
    assert file_names(reversed(names)) == chosen


def two_modules(tmp_path: Path) -> list[Module]:
    path = package(tmp_path, {"one.py": "def f(): return 1\ndef g(): return 2", "two.py": "def h(): return 3"})
    return list(modules([path], Skips()))


def test_a_file_is_written_after_its_last_function_and_then_forgotten(tmp_path: Path) -> None:
    one, two = two_modules(tmp_path)
    files = TestFiles(tmp_path / "generated_tests", file_names([one.name, two.name]))
    files.begin(one)
    files.begin(two)
    f, g = one.functions
    assert files.answer(g, "def test_g(): assert g() == 2") is None
    assert files.unanswered() == 2
    written = files.answer(f, "def test_f(): assert f() == 1")
    assert isinstance(written, WrittenModule)
    assert written.path == tmp_path / "generated_tests" / "made" / "test_one.py"
    assert written.path.read_text() == (
        "# Tests of made.one, written by a language model.\nfrom made.one import f, g\n\n\n"
        "def test_f(): assert f() == 1\n\n\ndef test_g(): assert g() == 2\n"
    )
    assert (written.module, files.unanswered()) == (one, 1)
    assert [path.name for path in written.path.parent.iterdir()] == ["test_one.py"]


def test_what_failed_is_named_and_a_module_without_tests_has_no_file(tmp_path: Path) -> None:
    one, two = two_modules(tmp_path)
    files = TestFiles(tmp_path / "generated_tests", file_names([one.name, two.name]))
    files.begin(one)
    files.begin(two)
    assert files.fail(one.functions[0], "429") is None
    mixed = files.answer(one.functions[1], "def test_g(): assert g()")
    assert mixed is not None
    assert (mixed.failed, [kept.name for kept in mixed.combined.tests]) == ({"made.one:f": "429"}, ["test_g"])
    nothing = files.answer(two.functions[0], "I cannot.")
    assert nothing is not None
    assert (nothing.path, nothing.combined.faults) == (None, {"made.two:h": "no tests in the reply"})
    assert not re.search("two", " ".join(path.name for path in (tmp_path / "generated_tests" / "made").iterdir()))
