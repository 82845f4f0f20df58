"""Makes README's picture of a report: the top of the page, rendered by a headless Chromium.

.venv/bin/python -m scripts.show_report DIR [docs/report.png]    (of a load run its load_report.html)
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
from tests.support.browser import chromium, page

WIDTH, HEIGHT = 1000, 1600
MOST_BYTES = 300_000


def main(arguments: Sequence[str]) -> int:
    if not arguments or len(arguments) > 2 or chromium() is None:
        sys.stderr.write(
            "scripts.show_report: needs the folder of a run, and Chromium (Debian: apt install chromium)\n"
        )
        return 2
    target = Path(arguments[1] if len(arguments) == 2 else "docs/report.png")
    try:
        folder = Path(arguments[0])
        report = load_report.write(folder) if (folder / REQUESTS).exists() else write(folder)
    except UserError as error:
        sys.stderr.write(f"scripts.show_report: {error}\n")
        return 2
    with tempfile.TemporaryDirectory() as profile, page(Path(profile) / "profile") as shown:
        shown.open(report, WIDTH, HEIGHT)
        picture = base64.b64decode(shown.picture(whole=False))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(picture)
    sys.stdout.write(f"{target}  ({len(picture):,} bytes)\n")
    return 0 if len(picture) <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
