"""Letters and colours of outcomes in the dashboard's grid, and their legend. No information is in colour alone."""

from rich.text import Text

from swarmeval.dashboard.format import plain
from swarmeval.records import NOT_GENERATED, Outcome
from swarmeval.watch import outcome_letters as letters
from swarmeval.watch.outcome_grid import GridCell

STYLES: dict[str, str] = {
    Outcome.PASSED: "bold #ffffff on #1f7a3d",
    Outcome.WRONG_ANSWER: "#ffffff on dark_red",
    Outcome.RAISED: "#ffffff on purple4",
    Outcome.TIMED_OUT: "#000000 on dark_orange",
    Outcome.OUT_OF_MEMORY: "#000000 on gold3",
    Outcome.BAD_SYNTAX: "#ffffff on grey37",
    Outcome.EMPTY: "#ffffff on grey23",
    Outcome.CRASHED: "#ffffff on magenta",
    Outcome.TAMPERED: "bold #ffffff on #d00000",
    NOT_GENERATED: "bold #000000 on #e0c000",
}
LETTERS = {name: (letter, STYLES[name]) for name, letter in letters.LETTERS.items()}
WAITS = (letters.WAITING, "cyan")
OPEN = (letters.OPEN, "dim")
REPAIRED = (letters.REPAIRED, "#ffffff on #4d7c0f")
SHARES = ("#ffffff on dark_red", "#000000 on dark_orange", "#000000 on gold3", "#ffffff on #3f8f57")  # of mixed cells


def cell_letter(cell: GridCell) -> tuple[str, str]:
    """(letter, style) of one agent's answers to one task; if outcomes differ, the tenths that passed, 0 to 9."""
    if not cell.word:
        return WAITS if cell.answered else OPEN
    if cell.mixed:
        return share_letter(cell)
    return REPAIRED if cell.repaired and not cell.passed else LETTERS[cell.word]


def share_letter(cell: GridCell) -> tuple[str, str]:
    """(letter, style) of a block of cells: P if all passed, else the tenths that passed."""
    if not cell.judged:
        return LETTERS[NOT_GENERATED] if cell.word else WAITS if cell.answered else OPEN
    if cell.passed == cell.judged:
        return LETTERS[Outcome.PASSED]
    tenths = min(9, 10 * cell.passed // cell.judged)
    return str(tenths), SHARES[min(len(SHARES) - 1, tenths * len(SHARES) // 10)]


def legend(outcomes: dict[str, int]) -> list[Text]:
    """Each outcome with its letter and count."""
    parts = []
    for name, count in outcomes.items():
        letter, style = LETTERS.get(name, ("?", ""))
        parts.append(Text.assemble((letter, style), f" {plain(name)} {count}"))
    return parts
