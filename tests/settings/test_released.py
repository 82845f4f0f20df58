import pytest

from swarmeval.settings.released import Window, window


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("2024-08..2025-01", ("2024-08-01T00:00:00", "2025-01-31T23:59:59"), ("2024-07-31", "2025-02-01T00:00:00")),
        ("2024-08-10..2024-08-12", ("2024-08-10T09:00:00", "2024-08-12T09:00:00"), ("2024-08-09", "2024-08-13")),
        ("2024-08-10..2024-08", ("2024-08-10", "2024-08-31"), ("2024-08-09", "2024-09-01")),
        ("2024-08..2024-08", ("2024-08-31",), ("2024-09-01", "")),
    ],
)
def test_a_window_includes_both_its_ends(text: str, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    found = window(text)
    assert str(found) == text
    assert [day in found for day in (*inside, *outside)] == [True] * len(inside) + [False] * len(outside)


def test_an_empty_window_limits_nothing() -> None:
    assert "1999-01-01" in Window()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2024-08", "write two months or days, such as 2024-08..2025-01 or 2024-08-01..2025-02-01"),
        ("2024-8..2025-1", "write two months or days, such as 2024-08..2025-01 or 2024-08-01..2025-02-01"),
        ("2024-13..2025-01", "2024-13 is not a date"),
        ("2024-02-30..2025-01", "2024-02-30 is not a date"),
        ("2025-01..2024-08", "its end lies before its start; swap them"),
    ],
)
def test_a_wrong_window_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        window(text)
