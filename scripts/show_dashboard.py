"""Makes the SVG picture of the dashboard in README from a run folder.

.venv/bin/python -m scripts.show_dashboard RUN_FOLDER PICTURE.svg [COLUMNSxLINES]
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from swarmeval.dashboard.app import Dashboard

SIZE = "120x40"


async def picture(folder: Path, columns: int, lines: int) -> str:
    """The screen as SVG, after the whole journal has been read."""
    app = Dashboard(folder, interval_s=3600)
    async with app.run_test(size=(columns, lines)) as pilot:
        await app.look()
        while app.is_behind:
            await app.look()
        await pilot.pause()
        return app.export_screenshot(title=f"python metrics_dashboard.py --run {folder.name}", simplify=True)


def without_fonts(svg: str) -> str:
    """The picture without fonts that a viewer would fetch from the network."""
    return re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (2, 3):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    folder, target, size = Path(arguments[0]), Path(arguments[1]), (*arguments, SIZE)[2]
    columns, _, lines = size.partition("x")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(without_fonts(asyncio.run(picture(folder, int(columns), int(lines)))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
