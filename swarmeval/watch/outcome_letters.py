"""The letter of every outcome, for all screens and pages that show a grid."""

from swarmeval.records import NOT_GENERATED, Outcome

LETTERS: dict[str, str] = {
    Outcome.PASSED: "P",
    Outcome.WRONG_ANSWER: "w",
    Outcome.RAISED: "r",
    Outcome.TIMED_OUT: "t",
    Outcome.OUT_OF_MEMORY: "m",
    Outcome.BAD_SYNTAX: "s",
    Outcome.EMPTY: "e",
    Outcome.CRASHED: "c",
    Outcome.TAMPERED: "x",
    NOT_GENERATED: "n",
}
WAITING = "~"  # answered, not judged yet
OPEN = "·"  # not answered yet
REPAIRED = "R"  # a later round passed
