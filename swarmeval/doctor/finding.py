"""What the doctor finds, and how it is printed: a line each, and a remedy where there is something to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "UNFIT"]  # a note costs speed or comfort; unfit costs the run, or its meaning


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    state: State
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.state:6}{self.subject:12}{self.text}"
        return f"{line}\n{'':18}-> {self.remedy}" if self.remedy else line


def verdict(findings: Sequence[Finding]) -> str:
    """The last line."""
    unfit = [finding.subject for finding in findings if finding.state == "UNFIT"]
    notes = sum(finding.state == "note" for finding in findings)
    counts = f"{len(findings)} checks, {notes} notes"
    return f"unfit: {', '.join(unfit)} ({counts})" if unfit else f"fit ({counts})"
