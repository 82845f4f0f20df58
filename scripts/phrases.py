"""Phrases that must not return to the project's text, each with what to write instead.

    .venv/bin/python -m scripts.phrases

Reads every tracked text file but this one and its test. A phrase is forbidden only if it is never right here: names
in code, such as the account `nobody` or the mode `none`, are told apart by their quotes.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("scripts/phrases.py", "tests/house/test_phrases.py")
TEXT = (".py", ".md", ".sh", ".j2", ".yaml", ".toml", ".js", ".css", ".h", ".cpp")
# Pattern -> what to write instead. Matched within a line, without regard to case unless the pattern says so.
PHRASES = {
    r"\b(is|are|was|were) (nobody|no one)'s\b": "name the owner",
    r"(?<!there )(?-i:\b(is|are|was|were) none\b)(?! of\b| else\b)": "is not a ...",
    r"\b(is|are) none of\b": "is not one of",
    r"(?<!there )\b(is|are|was|were) no (text|message|answer|module|file|task|run|reply|number|package|code|pass)\b":
        "is not a ...",
    r"\bwhoever\b": "name the subject",
    r'^\s*"""(what|who|how|where|which|of|whether what) ': "begin a docstring with a verb or a noun",
    r"\bwhat (came|comes|became|becomes|befell) of\b": "name the result",
    r"\bwhat is no\b": "name it",
    r"\bknows? no\b": "does not know",
    r"\bin the air\b": "in progress",
    r"\blaid over\b": "merged",
    r"\bwhere need be\b": "if needed",
    r"\bwithout (a word|an end)\b": "with no output; endless",
    r"\bthe same command resumes\b": "repeat the command to resume",
    r"\bin the mean\b": "on average",
    r"\btakes? no part\b": "is not involved",
    r"\bsomebody\b": "a user, another process",
    r"\banew\b": "again",
    r"\bin vain\b": "without success",
    r"\bby turns\b": "alternating",
    r"\bis no part of\b": "is not part of",
    r"\bwhat (a|the|an) [\w-]+ has of\b": "name the part",
    r"\bnobody (waits|asks|reads|looks|said|set|knows|wants|needs|hears|told)\b": "use the passive, or name who",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bbe(fall|fell)\b": "happen to",
    r"\bheed(s|ed|ing)?\b": "obey",
    r"\b(bring|brings|brought) along\b": "include",
    r"\bas it goes\b": "while running",
    r"\b(is|are) no matter of\b": "does not depend on",
    r"\b(is|are) not a question\b": "state the fact",
    r"\bwho looks? on\b": "viewers",
    r"\ba (row|line|column|round) an? \b": "one ... per ...",
    r"\bfor good\b": "permanently",
    r"\b(can|could|cannot) be had\b": "is (not) available",
    r"\bto be had\b": "available",
    r"\bbut for\b": "except for",
    r"\bonly then it\b": "only then does it",
    r"\bhalf of a surrogate pair\b": "a lone surrogate",
    r"\bof them all\b": "of all of them",
}  # fmt: skip


def findings(name: str, text: str) -> Iterator[str]:
    """A line for every forbidden phrase of a file: where it is, what it is, and what to write instead."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, advice in PHRASES.items():
            if (match := re.search(pattern, line, re.IGNORECASE)) is not None:
                yield f"{name}:{number}: '{match[0]}'; write: {advice}"


def files() -> list[str]:
    """The tracked text files."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.splitlines() if name not in OURS and (ROOT / name).is_file()]
    return [name for name in names if name.endswith(TEXT) or (name.startswith("scripts/") and "." not in name)]


def main() -> int:
    found = [line for name in files() for line in findings(name, (ROOT / name).read_text(encoding="utf-8"))]
    for line in found:
        sys.stdout.write(f"{line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
