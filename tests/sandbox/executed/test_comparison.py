import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.sandbox.executed.comparison import SHOWN_CHARS, difference

RULES = ["exact", "tokens", "numbers", "livecodebench"]
END = "the end of the output"
LARGE = 1 << 24


def differ(rule: str, expected: str, output: str, tolerance: float = 0.0) -> str:
    return difference(rule, tolerance, expected, output)


@pytest.mark.parametrize("rule", RULES)
def test_equal_outputs_are_accepted(rule: str) -> None:
    assert differ(rule, "1 2\nnan\n", "1 2\nnan\n") == ""
    assert differ(rule, "", "") == ""


@pytest.mark.parametrize("rule", RULES)
def test_a_wrong_token_is_shown_with_its_line(rule: str) -> None:
    assert differ(rule, "3\n4\n5\n", "3\n4\n4\n").replace("\\n", "") == "line 3: expected '5', found '4'"


def test_exact_ignores_only_one_final_newline() -> None:
    assert differ("exact", "1\n2\n", "1\n2") == differ("exact", "1\n2", "1\n2\n") == ""
    assert differ("exact", "1\n", "1\n\n") == "line 1: expected '1', found '1\\n'"
    assert differ("exact", "1 2", "1  2") == "line 1: expected '1 2', found '1  2'"
    assert differ("exact", "a\nb", "a\r\nb") == "line 1: expected 'a\\n', found 'a\\r\\n'"
    assert differ("exact", "", "x") == "line 1: expected '', found 'x'"


def test_tokens_ignore_white_space_only() -> None:
    assert differ("tokens", "1 2\n3\n", "  1\t2 3") == ""
    assert differ("tokens", "1", "1.0") == "line 1: expected '1', found '1.0'"
    assert differ("tokens", "1 2", "1\n") == f"line 1: expected '2', found {END}"
    assert differ("tokens", "1", "1\n2") == f"line 2: expected {END}, found '2'"
    assert differ("tokens", "12", "1 2") == "line 1: expected '12', found '1'"


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "accepted"),
    [
        ("0.5", ".50", 0.0, True),
        ("0.1", "0.1000001", 1e-6, True),
        ("0.1", "0.10001", 1e-6, False),
        ("1000000", "1000000.5", 1e-6, True),  # a relative error
        ("0", "0.0000005", 1e-6, True),  # an absolute error
        ("-1e-3", "-0.001", 0.0, True),
        ("50000000000000000", "50000000000000001", 0.0, False),  # equal as floats
        ("1e999999999", "1e999999999", 1e-6, True),
        ("1e999999999", "2e999999999", 1e-6, False),
        ("1", "1e999999999", 1e-6, False),
        ("1", "1e" + "9" * 900, 1e-6, False),
        ("-9e999999999999999999", "9e999999999999999999", 1.0, False),
        ("nan", "NaN", 0.0, True),
        ("nan", "0", 1e9, False),
        ("0", "nan", 1e9, False),
        ("inf", "Infinity", 0.0, True),
        ("inf", "-inf", 1e9, False),
        ("1", "inf", 1e9, False),
        ("1000", "1_000", 1e-6, False),
        ("1", "\N{ARABIC-INDIC DIGIT ONE}", 1e-6, False),
        ("1", "0x1", 1e-6, False),
        ("yes", "no", 1e9, False),
        ("1", "1" + "0" * 2000, 1e9, False),
    ],
)
def test_numbers_are_compared_within_a_tolerance(expected: str, found: str, tolerance: float, accepted: bool) -> None:
    assert (differ("numbers", f"a {expected} b", f"a {found} b", tolerance) == "") is accepted


@pytest.mark.parametrize(
    ("expected", "found", "accepted"),
    [
        ("1 2\n3\n", "\n  1 2  \n3  \n\n", True),  # the whole text and each line are stripped
        ("1 2", "1  2", True),  # numbers, so the space between them does not count
        ("a b", "a  b", False),
        ("1\n2", "1 2", False),
        ("1\n\n2", "1\n2", False),
        ("1.50", "1.5", True),
        ("1.5", "1.50000001", False),  # exact decimals
        ("1e3 2", "1000 2.0", True),
        ("1 a", "1.0 a", False),
        ("1 2", "1 2 3", False),
        ("nan 1", "nan 1.0", False),
        ("1", "snan", False),
        ("1e999999999", "1" + "0" * 2000, False),
        ("1" + "0" * 2000, "1e2000", True),
        ("5", "", False),
    ],
)
def test_livecodebench_compares_stripped_lines_and_decimals(expected: str, found: str, accepted: bool) -> None:
    assert (differ("livecodebench", expected, found) == "") is accepted


def test_livecodebench_counts_lines_first() -> None:
    assert differ("livecodebench", "1\n2", "1\n2\n3\n") == "expected 2 lines, found 3"


def test_evidence_is_printable_and_short() -> None:
    for text in ("\x1b[2J\x00\u202e\udcff" * 1000, "x" * 10_000, "\U0001f600\n" * 500):
        for rule in RULES:
            line = differ(rule, "5" * 10_000, text)
            assert line.isprintable()
            assert len(line) < 6 * SHOWN_CHARS


def test_long_texts_are_shown_from_their_first_difference() -> None:
    line = differ("tokens", "a" * 1000 + "b", "a" * 1000 + "c")
    assert line == f"line 1: expected ...'{'a' * 20}b', found ...'{'a' * 20}c'"


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no comparison has the rule 'checker'$"):
        differ("checker", "1", "2")


@given(st.text(" \n12.ae"), st.text(" \n12.ae"))
def test_a_stricter_rule_accepts_less(expected: str, output: str) -> None:
    exact, tokens, numbers = (differ(rule, expected, output) for rule in ("exact", "tokens", "numbers"))
    assert not (exact == "" and tokens)
    assert not (tokens == "" and numbers)
    assert (tokens == "") is (expected.split() == output.split())


HOSTILE = {
    "one number": ("7", "1" * LARGE),
    "equal numbers of other lengths": ("1e16000000 x", "1" + "0" * 16_000_000 + " x"),
    "spaces": ("7", " " * LARGE + "8"),
    "newlines": ("7", "\n" * LARGE + "8"),
    "words": ("1 " * (LARGE // 2) + "x", "1 " * (LARGE // 2) + "y"),
    "huge exponents": ("1e999999999 x", "1e-999999999 " * (LARGE // 13)),
    "a late difference": ("a" * LARGE + "x", "a" * LARGE + "y"),
}
MEASURE = """
import json, resource, sys, time
from swarmeval.sandbox.executed.comparison import difference
expected, output = json.load(sys.stdin)
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
assert difference(sys.argv[1], 1e-6, expected, output)
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_output_costs_linear_time_and_memory(rule: str, kind: str) -> None:
    command = [sys.executable, "-c", MEASURE, rule]
    done = subprocess.run(command, input=json.dumps(HOSTILE[kind]), capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    assert seconds < 20
    assert kilobytes < 16 * LARGE / 1024


def test_the_comparison_imports_only_the_standard_library() -> None:
    code = (
        "import sys, swarmeval.sandbox.executed.comparison\n"
        "names = {name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(sorted(names))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['__main__', 'swarmeval']\n"
