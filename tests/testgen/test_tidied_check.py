"""A tidied test file replaces the merged one only if a static check finds nothing lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.testgen.combine import Combined, CombinedTest, combine
from swarmeval.testgen.pieces import Part
from swarmeval.testgen.tidied_check import UNKNOWN, Unsafe, accept, undefined_names

BEFORE = combine([
    Part("m:f", "def test_f():\n    assert f(1) == 2\n\ndef test_f_twice():\n    assert f(f(1)) == 3",
         ("from m import f",)),
    Part("m:g", "import math\ndef near(x):\n    return math.floor(x)\n\ndef test_g():\n    assert near(g(1)) == 1\n"
                "\nclass TestG:\n    def test_a(self):\n        assert g(2)\n    def test_b(self):\n        g(3)",
         ("from m import g",)),
])  # fmt: skip
OWNERS = {kept.name: kept for kept in BEFORE.tests}


def fenced(*statements: str) -> str:
    return "Here it is:\n```python\n" + "\n\n".join(statements) + "\n```"


def refused(*statements: str) -> str:
    with pytest.raises(Unsafe) as caught:
        accept(BEFORE, fenced(*statements))
    return str(caught.value)


F = "def test_f():\n    assert f(1) == 2"
G = "def test_g():\n    assert g(1) == 1"


def test_a_file_that_comes_back_as_it_was_stays_as_it_was() -> None:
    assert list(OWNERS) == ["test_f", "test_f_twice", "test_g", "TestG::test_a", "TestG::test_b"]
    again = accept(BEFORE, fenced(BEFORE.source))
    assert (again.source, again.tests) == (BEFORE.source, BEFORE.tests)


def test_each_test_stays_with_its_function_and_unused_code_goes() -> None:
    after = accept(BEFORE, fenced("from m import f, g", G, "def two():\n    return 2", F.replace("2", "two()")))
    assert after.source == f"from m import f, g\n\n\n{G}\n\n\ndef two():\n    return 2\n\n\n{F.replace('2', 'two()')}\n"
    assert after.tests == (CombinedTest("test_g", "m:g", True), CombinedTest("test_f", "m:f", True))


def test_imports_left_out_by_the_reply_stay_and_no_copy_replaces_them() -> None:
    after = accept(BEFORE, fenced("def f(x): return 2", "g = 3", F, G))
    assert after.source == f"from m import f, g\n\n\n{F}\n\n\n{G}\n"
    assert after.dropped["copies of the code under test"] == 2


def test_tests_of_other_names_are_left_out_and_counted() -> None:
    cases = "class TestG:\n    def test_a(self):\n        assert g(2)\n    def test_new(self):\n        assert g(9)"
    after = accept(BEFORE, fenced(F, cases, "def test_new():\n    assert f(9)"))
    assert [kept.name for kept in after.tests] == ["test_f", "TestG::test_a"]
    assert "new" not in after.source
    assert after.dropped[UNKNOWN] == 2


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        ((), "contains none of the tests"),
        (("def test_other():\n    assert f(1)",), "contains none of the tests"),
        ((F,), "no test of m:g is left"),
        ((F, "def test_g():\n    g(1)"), "test_g no longer asserts anything"),
        ((F, "def test_g():\n    assert True"), "test_g no longer asserts anything"),
        ((F, "def test_g(:\n    pass"), "does not parse: line 1: invalid syntax: 'def test_g(:'"),
        ((F, G, "def test_f_twice(a, a):\n    assert a"),
         "does not parse: line 7: duplicate argument 'a' in function definition"),
        ((F, G, F), "defines test_f 2 times"),
        ((F, G, "from other import f"), "f is imported from elsewhere"),
        ((F, "def test_g():\n    assert far(g(1))"), "nothing defines far"),
        ((F, "def test_g(given_by_nobody):\n    assert g(1)"), "nothing defines given_by_nobody"),
        ((F, "def test_g():\n    assert test_new()", "def test_new():\n    assert g(1)"), "nothing defines test_new"),
        ((F, "@pytest.fixture\n" + G), "no test of m:g is left"),
    ],
)  # fmt: skip
def test_what_is_not_safe_is_refused_with_its_reason(statements: tuple[str, ...], why: str) -> None:
    assert refused(*statements) == why


def test_what_is_nested_too_deeply_is_refused() -> None:
    assert refused(F, f"def test_g():\n    assert {'-' * 5000}g(1)").startswith("does not parse: ")
    assert "RecursionError" in refused(F, f"def test_g():\n    assert {' + '.join(['g(1)'] * 2000)}")


def test_what_a_file_lacked_before_it_may_lack_again() -> None:
    before = combine(
        [Part("m:f", "def test_f(mocker):\n    assert f(lost)"), Part("m:g", "def test_g():\n    assert g")]
    )
    assert undefined_names(before.source) == {"f", "g", "lost", "mocker"}
    assert accept(before, before.source).tests == before.tests


WORDS = st.sampled_from([
    F, G, "def test_f():\n    f(1)", "def test_f_twice():\n    assert f(f(1)) == 3",
    "class TestG:\n    def test_a(self):\n        assert near(g(2))",
    "class TestG:\n    def test_b(self):\n        assert g(2)\n    def test_c(self):\n        assert g(3)",
    "def near(x): return x", "import m", "from m import g", "def f(x): return 2", "print(f(1))",
    "@pytest.fixture\ndef near(): return 3", "import pytest", "near = 3", "def test_g(near):\n    assert g(near)",
    "def test_new():\n    assert f(1)", "def test_x(", "class TestG: pass", "from x import *", "g: int = 3",
])  # fmt: skip


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(WORDS, max_size=7), st.booleans())
def test_whatever_comes_back_nothing_is_lost(statements: list[str], whole: bool) -> None:
    before: Combined = BEFORE
    try:
        after = accept(before, fenced(*statements, *([F, G] if whole else [])))
    except Unsafe:
        return
    compile(after.source, "after", "exec", dont_inherit=True)
    assert {kept.function_id for kept in after.tests} == {"m:f", "m:g"}
    for kept in after.tests:
        assert kept.function_id == OWNERS[kept.name].function_id
        assert kept.asserts >= OWNERS[kept.name].asserts
    assert undefined_names(after.source) <= undefined_names(before.source)
    assert accept(after, fenced(after.source)).source == after.source
