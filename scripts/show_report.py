"""Makes the manual's pictures of a report with a headless Chromium: the top of the page, or one of its sections.

.venv/bin/python -m scripts.show_report DIR [docs/report.png]    (of a load run its load_report.html)
.venv/bin/python -m scripts.show_report DIR docs/tree.png agreement
"""

import base64
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from swarmeval.errors import UserError
from swarmeval.loadtest import report as load_report
from swarmeval.loadtest.request_rows import NAME as REQUESTS
from swarmeval.report.run_report import write
from tests.support.browser import Page, chromium, page

WIDTH, HEIGHT = 1000, 1600
EDGE = 20  # pixels below a section
MOST_BYTES = 300_000


def main(arguments: Sequence[str]) -> int:
    if not arguments or len(arguments) > 3 or chromium() is None:
        sys.stderr.write(
            "scripts.show_report: needs the folder of a run, and Chromium (Debian: apt install chromium)\n"
        )
        return 2
    target = Path(arguments[1] if len(arguments) > 1 else "docs/report.png")
    try:
        folder = Path(arguments[0])
        report = load_report.write(folder) if (folder / REQUESTS).exists() else write(folder)
    except UserError as error:
        sys.stderr.write(f"scripts.show_report: {error}\n")
        return 2
    with tempfile.TemporaryDirectory() as profile, page(Path(profile) / "profile") as shown:
        shown.open(report, WIDTH, HEIGHT)
        picture = base64.b64decode(section(shown, arguments[2]) if len(arguments) == 3 else shown.picture(whole=False))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(picture)
    sys.stdout.write(f"{target}  ({len(picture):,} bytes)\n")
    return 0 if len(picture) <= MOST_BYTES else 1


def section(shown: Page, name: str) -> str:
    """A section of the page, with its charts drawn, as PNG in base64."""
    shown.until(f"document.querySelector('#{name} svg')")
    box = (
        f"(b => ({{x: 0, y: b.top + scrollY, width: {WIDTH}, height: b.height + {EDGE}, scale: 1}}))"
        f"(document.getElementById('{name}').getBoundingClientRect())"
    )
    clip = shown.run(box)
    return str(shown.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
