"""README and the manual as text: their pages, prose, code blocks and the commands in them, and anchors of headings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.checkout import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
INCLUDED = (ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/RESULTS.md")
FENCE = re.compile(r"^```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- generated: [\w ]+ -->.*?<!-- end: [\w ]+ -->", re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    page: Path
    kind: str  # "" is shell
    text: str

    def commands(self) -> Iterator[list[str]]:
        """The words of each shell command, without variables set in front of it, a prompt, or a here-document."""
        if self.kind:
            return
        text = re.sub(r"<<'EOF'\n.*?^EOF$", "", self.text, flags=re.MULTILINE | re.DOTALL)
        for line in text.replace("\\\n", " ").splitlines():
            for part in line.removeprefix("$ ").split(" && "):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:  # a quote that goes on in the next line: no command of ours
                    continue
                while words and ASSIGNMENT.match(words[0]):
                    words.pop(0)
                if words:
                    yield words


def pages() -> list[Path]:
    """The pages of the manual."""
    return sorted(DOCS.glob("*.md"))


def blocks(*paths: Path) -> list[Block]:
    found = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        found += [Block(path, match["kind"], match["text"]) for match in FENCE.finditer(text)]
    return found


def prose(text: str) -> str:
    """A page without its generated parts, code blocks and tables."""
    text = FENCE.sub("", GENERATED.sub("", text))
    return "\n".join(line for line in text.splitlines() if not line.startswith(("|", "--8<--")))


def anchors(text: str) -> set[str]:
    """The anchors of the headings, spelled as both GitHub and MkDocs spell them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
