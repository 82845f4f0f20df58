"""Plain data: values survive a round trip, and everything else is rejected."""

from collections import Counter, OrderedDict, deque
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.sandbox import plain_data

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False) | st.fractions() | st.decimals(allow_nan=False)
)  # fmt: skip
HASHABLE = st.recursive(LEAVES, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(HASHABLE, inner, max_size=4) | st.sets(HASHABLE, max_size=4)
        | st.lists(inner, max_size=3).map(deque) | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_a_value_comes_back_equal_and_of_its_type(value: object) -> None:
    found = plain_data.loads(plain_data.dumps(value))
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value) or isinstance(value, set | frozenset | dict | list | tuple | deque)


@pytest.mark.parametrize(
    "value",
    [Counter("aab"), OrderedDict(b=1, a=2), range(3, 9, 2), bytearray(b"x"), {1: 2}.keys(), float("inf"), 10**3000],
)
def test_the_types_that_tests_tell_apart_stay_apart(value: object) -> None:
    found = plain_data.loads(plain_data.dumps(value))
    assert (found, type(found)) == (value, type(value))


def test_a_value_that_is_not_plain_data_equals_nothing() -> None:
    class Any:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    class List(list[int]):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None

    for value in (Any(), lambda: 0, Any, NotImplemented):
        text = plain_data.dumps(value)
        assert plain_data.holds_opaque(text)
        assert plain_data.loads(text) not in ([], 1, None, "x")
    assert plain_data.loads(plain_data.dumps(List([1]))) == [1]
    assert type(plain_data.loads(plain_data.dumps(List([1])))) is list


def test_a_text_that_looks_like_an_object_is_a_text() -> None:
    assert not plain_data.holds_opaque(plain_data.dumps('{"opaque": "x"}'))


def test_endless_and_too_deep_values_are_not_plain_data() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert plain_data.holds_opaque(plain_data.dumps(deep))
    round_: list[object] = []
    round_.append(round_)
    assert plain_data.holds_opaque(plain_data.dumps(round_))


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "nan", '{"tuple": 3}', '{"a": 1, "b": 2}', '{"unknown": 1}', '{"int": "zz"}', '{"set": [[1]]}',
        "[" * 10**5,
        '{"Decimal": "x"}', '{"Fraction": ["0x1", "0x0"]}', '{"range": ["0x1", "0x1", "0x0"]}', '{"dict": [[1]]}',
        '{"dict": [[[1], 2]]}', '{"bytes": "x"}', '{"complex": ["x"]}', '{"float": {}}',
    ],
)  # fmt: skip
def test_what_no_writer_made_is_malformed(text: str) -> None:
    with pytest.raises(plain_data.Malformed):
        plain_data.loads(text)


def test_equal_numbers_of_different_types_are_distinguished() -> None:
    for value in (1, 1.0, True, Fraction(1), Decimal(1), 1 + 0j):
        assert type(plain_data.loads(plain_data.dumps(value))) is type(value)


def test_an_iterator_is_what_is_left_of_it() -> None:
    source = iter([1, 2, 3])
    next(source)
    found = plain_data.loads(plain_data.dumps(source))
    assert found != [2, 3]
    assert list(found) == [2, 3]


@pytest.mark.parametrize(
    ("target", "value"),
    [([1], [2, 3]), ({1: 2}, {3: 4}), ({1}, {2}), (deque([1]), deque([2])), (bytearray(b"a"), bytearray(b"b"))],
)
def test_arguments_get_what_a_call_made_of_them(target: object, value: object) -> None:
    plain_data.put_back(target, value)
    assert target == value
