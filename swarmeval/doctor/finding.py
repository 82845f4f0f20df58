"""A finding of `doctor`, printed as one line with a remedy if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "UNFIT"]  # note: slower or less convenient; UNFIT: the run fails or has no valid result


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    state: State
    text: str
    remedy: str = ""
    caveat: str = ""  # repeated in the summary line of a fit machine

    def __str__(self) -> str:
        line = f"{self.state:6}{self.subject:12}{self.text}"
        return f"{line}\n{'':18}-> {self.remedy}" if self.remedy else line


def verdict(findings: Sequence[Finding]) -> str:
    """The summary line."""
    unfit = [finding.subject for finding in findings if finding.state == "UNFIT"]
    notes = sum(finding.state == "note" for finding in findings)
    checks = f"{len(findings)} check{'' if len(findings) == 1 else 's'}"
    counts = f"{checks}, {notes} note{'' if notes == 1 else 's'}"
    if unfit:
        return f"unfit: {', '.join(unfit)} ({counts})"
    caveats = [finding.caveat for finding in findings if finding.caveat]
    return f"fit, but {'; '.join(caveats)} ({counts})" if caveats else f"fit ({counts})"
