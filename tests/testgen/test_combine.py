"""Replies merged into one test file: each kept part appears once, keeps its meaning, and parses."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.testgen.combine import Combined, combine
from swarmeval.testgen.pieces import Part

GIVEN = ("import pytest", "from m import f")


def merged(*replies: str) -> Combined:
    """Merge replies, each for a different function: f0, f1, ..."""
    return combine([Part(f"m:f{number}", reply, GIVEN, "f") for number, reply in enumerate(replies)])


def names(combined: Combined) -> list[str]:
    return [kept.name for kept in combined.tests]


def test_prose_fences_and_thoughts_are_left_behind() -> None:
    file = merged(
        "<think>def test_no(): pass</think>Sure:\n```python\ndef test_a():\n    assert f(1)  # kept\n```\nAnd:\n"
        "```python\ndef test_b():\n    assert f(2)\n```\nDone."
    )
    assert file.source == (
        "from m import f\n\n\ndef test_a():\n    assert f(1)  # kept\n\n\ndef test_b():\n    assert f(2)\n"
    )
    assert [kept.function_id for kept in file.tests] == ["m:f0", "m:f0"]


def test_what_does_not_parse_costs_its_own_function_only() -> None:
    file = merged(
        "```python\ndef test_a():\n    assert f(1)\n\ndef test_b(:\n    pass\n\ndef test_c():\n    return f(",
        "def test_d():\n    assert f(4)",
        "I cannot help with that.",
        "def test_e(a, a): pass",
    )
    assert names(file) == ["test_a", "test_d"]
    assert file.faults == {
        "m:f0": "line 1: invalid syntax: 'def test_b(:'",
        "m:f2": "no tests in the reply",
        "m:f3": "line 1: duplicate argument 'a' in function definition",
    }


def test_what_would_run_when_the_file_is_imported_is_dropped_and_counted() -> None:
    file = merged(
        "import os, sys\nfrom . import near\nX = [1]\nY = os.getcwd()\nprint(X)\n__test__ = False\n"
        "def setup_module(): sys.exit()\ndef f(x): return x\ndef unused(): pass\n"
        "def test_a():\n    assert f(X)\nif __name__ == '__main__':\n    pytest.main()"
    )
    assert file.source == "from m import f\n\n\nX = [1]\n\n\ndef test_a():\n    assert f(X)\n"
    assert file.dropped == {
        "relative imports": 1, "statements": 4, "functions for all tests of a file": 1,
        "copies of the code under test": 1, "helpers that no test uses": 1,
    }  # fmt: skip


def test_imports_are_merged_and_the_future_comes_first() -> None:
    file = merged(
        "import a.b, a.c\nimport numpy as np\nfrom x import one\ndef test_a(): assert a.b.x, one(a.c, np)",
        "from __future__ import annotations\nfrom x import two, one\nimport numpy as np\n"
        "def test_b(): assert two(one, np)",
    )
    assert file.source.split("\n\n\n")[0] == (
        "from __future__ import annotations\nimport a.b\nimport a.c\nimport numpy as np\nfrom x import one, two"
    )


def test_clashing_names_are_renamed_with_all_their_uses() -> None:
    file = merged(
        "from x import one\nLIMIT = 3\ndef helper(a): return one(a) + LIMIT\ndef test_a(): assert helper(1)",
        "from y import one\nLIMIT = 4\ndef helper(a):\n    one_2 = LIMIT\n    return one(a) + one_2\n"
        "class Case: one = one\ndef test_a():\n    def inner(one): return one\n"
        "    assert helper(inner(Case.one)), [one for one in LIMIT]",
    )
    assert file.source.split("\n\n\n")[-4:] == [
        "LIMIT_2 = 4",
        "def helper_2(a):\n    one_2 = LIMIT_2\n    return one_3(a) + one_2",
        "class Case: one = one",
        "def test_a_2():\n\n    def inner(one):\n        return one\n"
        "    assert helper_2(inner(Case.one)), [one for one in LIMIT_2]\n",
    ]
    assert "from y import one as one_3" in file.source


def test_fixtures_keep_to_their_reply() -> None:
    file = merged(
        "@pytest.fixture(autouse=True)\ndef data(): return 1\ndef test_a(): assert f(1)",
        "@pytest.fixture(name='data')\ndef made(tmp_path): return 2\n@pytest.fixture\ndef tmp_path(): return 3\n"
        "@pytest.mark.usefixtures('data')\ndef test_b(data):\n    data += 1\n    assert data\n"
        "@pytest.mark.parametrize('data', [1])\ndef test_c(data): assert f(data)",
    )
    assert "@pytest.mark.usefixtures('data')\ndef test_a():" in file.source
    assert "@pytest.fixture()\ndef data_2(tmp_path_2):" in file.source
    assert "@pytest.mark.usefixtures('data_2')\ndef test_b(data_2):\n    data_2 += 1" in file.source
    assert "@pytest.mark.parametrize('data', [1])\ndef test_c(data): assert f(data)" in file.source


def test_equal_tests_and_helpers_stand_once_whatever_their_names() -> None:
    file = merged(
        "def helper(): return 1\ndef test_a(): assert f(helper())\ndef test_b(): assert f(helper())",
        "def other(): return 1\ndef test_c(): assert f(other())\ndef test_d(): assert f(other(), 2)",
        "def other(): return 2\ndef test_e(): assert f(other())",
    )
    assert names(file) == ["test_a", "test_d", "test_e"]
    assert file.dropped["duplicate tests"] == 2
    assert "def test_d():\n    assert f(helper(), 2)" in file.source


def test_a_builtin_is_never_taken_for_an_imported_name() -> None:
    file = merged("from numpy import sum\ndef test_a(): assert sum([f(1)])", "def test_b(): assert sum([f(1)])")
    assert "from numpy import sum as sum_2" in file.source
    assert file.source.endswith("def test_b(): assert sum([f(1)])\n")


def test_unbound_names_come_from_the_prompt_or_from_a_star_import() -> None:
    file = merged("from x import *\ndef test_a():\n    with pytest.raises(KeyError): one(f, len)")
    assert file.source.startswith("import pytest\nfrom m import f\nfrom x import one\n")


def test_tests_that_assert_nothing_are_flagged() -> None:
    checks = {
        "assert f(1)": True, "assert True": False, "assert 1 == 1": False, "f(1)": False, "print(f)": False,
        "with pytest.raises(E): f(1)": True, "np.testing.assert_allclose(f(1), 2)": True, "check(f)": True,
        "helper(f)": False, "raise AssertionError": True, "pytest.fail('no')": True, "raise ValueError": False,
    }  # fmt: skip
    body = "".join(f"def test_{number}():\n    {check}\n" for number, check in enumerate(checks))
    file = merged("def check(x):\n    assert x\ndef helper(x): pass\n" + body)
    assert [kept.asserts for kept in file.tests] == list(checks.values())
    classes = merged(
        "import unittest\nclass Some(unittest.TestCase):\n    def check(self): self.assertEqual(f(1), 1)\n"
        "    def test_a(self): self.check()\n    def test_b(self): f(1)\n"
        "class TestOther:\n    def test_c(self): assert f"
    )
    assert [(kept.name, kept.asserts) for kept in classes.tests] == [
        ("Some::test_a", True), ("Some::test_b", False), ("TestOther::test_c", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "hostile",
    [
        "def test_a(): return " + "-" * 100_000 + "1",
        "def test_a(): return " + "+".join(["1"] * 20_000),
        "def test_a(): return " + "(" * 50 + ")" * 50,
        "def test_a(): return 0x" + "f" * 50_000,
        "def test_a(): return '\ud800'",
        "\0def test_a(): pass",
        "".join(f"def h{n}(): return h{n + 1}, h{n + 2}\n" for n in range(200)) + "def test_a(): h0()",
        "def a(): b()\ndef b(): a()\ndef test_a(): a()",
        "```" * 10_000,
        "x = " + "[" * 10_000,
    ],
)
def test_hostile_replies_end_in_a_fault_or_a_file(hostile: str) -> None:
    file = merged(hostile, "def test_z(): assert f(1)")
    ast.parse(file.source)
    assert names(file)[-1] == "test_z"


IDENTIFIERS = st.sampled_from(["a", "b", "sum", "data", "helper", "X"])
EXPRESSIONS = st.recursive(
    IDENTIFIERS | st.sampled_from(["1", "'s'", "f(2)"]),
    lambda inner: st.one_of(
        st.builds("[{} for {} in {}]".format, inner, IDENTIFIERS, inner),
        st.builds("(lambda {}: {})".format, IDENTIFIERS, inner),
        st.builds("{}({})".format, IDENTIFIERS, inner),
        st.builds("({} := {})".format, IDENTIFIERS, inner).map(lambda text: text if text.count(":=") == 1 else "1"),
    ),
    max_leaves=4,
)
STATEMENTS = st.one_of(
    st.builds("from {} import {}".format, st.sampled_from(["x", "y"]), IDENTIFIERS),
    st.builds("import {} as {}".format, st.sampled_from(["x", "x.z"]), IDENTIFIERS),
    st.builds("{} = {}".format, IDENTIFIERS, EXPRESSIONS),
    st.builds("@pytest.fixture\ndef {}():\n    return {}".format, IDENTIFIERS, EXPRESSIONS),
    st.builds("def {}({}):\n    {} = {}\n    return {}".format, *[IDENTIFIERS] * 3, EXPRESSIONS, EXPRESSIONS),
    st.builds("class {}:\n    {} = 1\n    def test({}): {}".format, *[IDENTIFIERS] * 3, EXPRESSIONS),
    st.builds("def test_{}({}):\n    assert {}".format, IDENTIFIERS, IDENTIFIERS, EXPRESSIONS),
    st.builds("class Test{}:\n    def test_{}(self): assert {}".format, IDENTIFIERS, IDENTIFIERS, EXPRESSIONS),
    st.builds("print({})".format, EXPRESSIONS),
    st.just("def broken(:"),
)
REPLIES = st.lists(st.lists(STATEMENTS, max_size=8).map("\n".join), max_size=5)


@pytest.mark.slow
@given(REPLIES)
@settings(max_examples=100, deadline=None)
def test_a_merged_file_parses_and_holds_every_kept_test_once(replies: list[str]) -> None:
    file = merged(*replies)
    tree = ast.parse(file.source)
    compile(tree, "<merged>", "exec")
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(defined) == len(set(defined))
    assert len(names(file)) == len(set(names(file)))
    for kept in file.tests:
        assert defined.count(kept.name.partition("::")[0]) == 1
    first = [isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body]
    assert first == sorted(first, reverse=True)
    assert not [node for node in tree.body if isinstance(node, ast.Expr | ast.If)]


@pytest.mark.slow
@given(REPLIES)
@settings(max_examples=100, deadline=None)
def test_merging_is_idempotent(replies: list[str]) -> None:
    file = merged(*replies)
    again = combine([Part("m:all", file.source, GIVEN, is_code=True)])
    assert again.source == file.source
    assert names(again) == names(file)
    assert merged(*replies) == file
    parts = [Part(f"m:f{number}", reply, GIVEN, "f") for number, reply in enumerate(replies)]
    assert combine(parts * 2).source == file.source


VALUES = {"one": 1, "two": 2, "three": 3}


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(list(VALUES)), st.sampled_from(list(VALUES))), min_size=1, max_size=5))
@settings(deadline=None)
def test_what_tests_mean_outlives_the_merging(pairs: list[tuple[str, str]]) -> None:
    """Each reply defines the same helper, constant and name with different values, and still computes its own."""
    replies = [
        f"X = {VALUES[inner]}\ndef helper(): return X\n"
        f"def test_it():\n    X_2 = {VALUES[outer]}\n    return [X for X in [X_2]][0] * 10 + helper()"
        for outer, inner in pairs
    ]
    file = merged(*replies)
    space: dict[str, object] = {}
    exec(file.source, space)
    got = [space[kept.name]() for kept in file.tests]  # type: ignore[operator]
    assert got == list(dict.fromkeys(10 * VALUES[outer] + VALUES[inner] for outer, inner in pairs))
