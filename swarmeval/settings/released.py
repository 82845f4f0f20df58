"""A range of release dates, `2024-08..2025-01`, that selects tasks of a dated benchmark."""

import re
from dataclasses import dataclass
from datetime import date

FORMAT = re.compile(r"(\d{4}-\d{2}(?:-\d{2})?)\.\.(\d{4}-\d{2}(?:-\d{2})?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """The first and last date, both included, as months or days in ISO form. Empty texts are no limit."""

    first: str = ""
    last: str = ""

    def __contains__(self, day: object) -> bool:
        """Whether a day ("2024-08-31", a time may follow) lies in the window."""
        text = str(day)
        return self.first <= text[: len(self.first)] and text[: len(self.last)] <= self.last

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


def window(text: str) -> Window:
    """Parse a window. Raises ValueError with the reason."""
    match = FORMAT.fullmatch(text)
    if match is None:
        raise ValueError("write two months or days, such as 2024-08..2025-01 or 2024-08-01..2025-02-01")
    for one in match.groups():
        try:
            date.fromisoformat(one if len(one) == len("2024-08-01") else f"{one}-01")
        except ValueError:
            raise ValueError(f"{one} is not a date") from None
    found = Window(match[1], match[2])
    if found.first > found.last and not found.first.startswith(found.last):
        raise ValueError("its end lies before its start; swap them")
    return found
