"""The end of a load run: the facts for its report, and the text that it prints."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmeval.loadtest.facts import LoadFacts, Slo
from swarmeval.loadtest.law import NAME as LAW
from swarmeval.loadtest.report_tables import span, value_with_bounds
from swarmeval.report.words import number, percent
from swarmeval.session.ending import FINISHED
from swarmeval.session.fleet_choice import ChosenFleet
from swarmeval.session.load_session import LoadResults
from swarmeval.session.run_record import Record
from swarmeval.settings.run_config import RunConfig
from swarmeval.testgen.test_index import FOLDER

WIDTH = 10  # of the label of a line


def facts(config: RunConfig, chosen: ChosenFleet, record: Record, results: LoadResults, finished: bool) -> LoadFacts:
    """Everything that the report shows besides the requests."""
    packages = ", ".join(config.loadtest.packages)
    return LoadFacts(
        title=f"{chosen.model}: tests for {packages}",
        run_id=record.run_id,
        finished=finished,
        slo=Slo(config.loadtest.slo_ttft_s, config.loadtest.slo_tpot_s),
        levels=tuple(results.levels),
        settings={
            "model": chosen.model, "fleet": config.fleet, "endpoints": ", ".join(config.endpoint.urls) or None,
            "packages": packages, "files of each": config.loadtest.files_per_package or "all",
            "functions": results.functions, "prompts": results.mode or None, "max_new_tokens": config.max_new_tokens,
            "sampling": f"temperature {config.temperature:g}, top_p {config.top_p:g}, top_k {config.top_k}"
            if config.do_sample else "greedy",
            "seed": config.seed, "sandbox": results.sandbox or None,
            **({"tidied by the model": str(results.tidied)} if results.tidied is not None else {}),
            **{f"skipped: {reason}": count for reason, count in sorted(results.skipped.items())},
        },
        energy_source=", ".join(sorted(record.manifest.get("idle_w", {}))) or None,
        memory=results.memory,
        worth={package: sums.cells() for package, sums in sorted(results.worth.items())} or None,
    )  # fmt: skip


def summary(folder: Path, page: Path, results: LoadResults, reason: str) -> tuple[str, int]:
    """(the summary, the number of failed requests), from load.json."""
    law: Mapping[str, Any] = json.loads((folder / LAW).read_text(encoding="utf-8"))
    lines = [] if reason == FINISHED else [_line("partial", f"{reason}; repeat the command to start over")]
    lines += [_line("load", _level(level)) for level in law["levels"]]
    for error in law["errors"][:3]:
        lines.append(_line("failed", f"{error['count']} x {error['reason']}"))
    for package, sums in sorted(results.worth.items()):
        cells = sums.cells()
        lines.append(_line("quality", f"{package}: {sums.files} test files, {sums.tests} tests; " + "; ".join(
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
        percentiles = whole[key]
        if percentiles and percentiles["p50"]:
            middle, last = percentiles["p50"], percentiles["p99"]
            parts.append(f"{name} {value_with_bounds(middle)}" + (f", p99 {span(last['value'])}" if last else ""))
    computed = whole.get("computed_tokens_per_s")
    parts.append(
        number(whole["output_tokens_per_s"], "tokens/s")
        + ("" if computed is None else f" delivered, {number(computed)} computed")
    )
    return "; ".join(parts)
