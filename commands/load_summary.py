"""What a load run prints when it ends: a line a level, a line a package."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.load_session import Found
from commands.session import FINISHED
from serving.law import NAME as LAW
from testgen.kept import FOLDER
from watch.load_tables import around, span
from watch.report_words import number, percent

WIDTH = 10  # of a line's first word


def summary(folder: Path, page: Path, found: Found, reason: str) -> tuple[str, int]:
    """(the text, how many requests failed), of what load.json holds."""
    law: Mapping[str, Any] = json.loads((folder / LAW).read_text(encoding="utf-8"))
    lines = [] if reason == FINISHED else [_line("partial", f"{reason}; the same command begins anew")]
    lines += [_line("load", _level(level)) for level in law["levels"]]
    for error in law["errors"][:3]:
        lines.append(_line("failed", f"{error['count']} x {error['reason']}"))
    for package, sums in sorted(found.worth.items()):
        cells = sums.cells()
        lines.append(_line("worth", f"{package}: {sums.files} test files, {sums.tests} tests; " + "; ".join(
            f"{percent(value)} {name}" for name, value in (
                ("collected", cells["collected by pytest"]), ("pass", cells["tests that pass"]),
                ("assert nothing", cells["tests that assert nothing"]),
                ("of their functions' lines run", cells["lines of the functions that their tests run"]),
            ) if value is not None)))  # fmt: skip
    lines += [_line("tests", f"{folder / FOLDER}"), _line("report", str(page))]
    return "\n".join(lines), law["failed"]


def _line(word: str, text: str) -> str:
    return f"{word:<{WIDTH}}{text}"


def _level(level: Mapping[str, Any]) -> str:
    whole = next(iter(level["groups"].values()))
    parts = [f"{level['name']}: {level['answered']:,} answers"]
    for name, key in (("latency", "latency_s"), ("TTFT", "ttft_s"), ("TPOT", "tpot_s")):
        found = whole[key]
        if found and found["p50"]:
            middle, last = found["p50"], found["p99"]
            parts.append(f"{name} {around(middle)}" + (f", p99 {span(last['value'])}" if last else ""))
    parts.append(f"{number(whole['output_tokens_per_s'], 'tokens/s')}")
    return "; ".join(parts)
