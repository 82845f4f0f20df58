"""`python main.py --benchmark testgen`: unit tests for real packages, asked for under load, timed and weighed."""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from swarmeval.commands.output import say
from swarmeval.errors import UserError
from swarmeval.loadtest import facts as load_facts
from swarmeval.loadtest import request_rows
from swarmeval.loadtest.facts import LoadFacts, Slo
from swarmeval.loadtest.law import NAME as LAW
from swarmeval.loadtest.progress import LoadProgress
from swarmeval.loadtest.report_tables import around, span
from swarmeval.monitor.host import hardware
from swarmeval.monitor.tracking.tracker import make_tracker
from swarmeval.report.words import number, percent
from swarmeval.session.ending import FINISHED, STOPPED, Reason, ended, page
from swarmeval.session.fleet_choice import Chosen, choose
from swarmeval.session.load_session import Found, LoadSession
from swarmeval.session.run_record import Record, opened_anew
from swarmeval.session.signals import unheeded
from swarmeval.session.watchers import Watching
from swarmeval.settings.run_config import RunConfig
from swarmeval.testgen.packages import roots
from swarmeval.testgen.test_index import FOLDER
from swarmeval.watch.logs import shown

log = logging.getLogger("swarmeval")


def testgen(config: RunConfig) -> int:
    """Put load on what answers, write and weigh the tests, report; gives the exit code. Raises UserError."""
    roots(config.loadtest.packages)  # before anything is loaded, moved or made
    chosen = choose(config)
    with opened_anew(config) as record, closing(LoadProgress()) as progress, shown(progress.note, config.verbose):
        record.note(hardware=hardware(), **chosen.facts())
        record.begin()
        tracker = make_tracker(config, record.folder, record.run_id, record.manifest)
        watching = Watching(config, record, chosen.make(None), chosen.here, tracker)
        session = LoadSession(config, record, watching, progress)
        reason = Reason()
        try:
            with ended(reason):
                with watching:
                    asyncio.run(session.run())
                    watching.end()
                reason.text = FINISHED
        finally:
            report = _close(config, chosen, record, session.found, reason.text)
            tracker.finish({})
    if report is None:
        say(f"{reason.text}; there is no report")
        return 130 if reason.text == STOPPED else 2
    text, failed = summary(record.folder, report, session.found, reason.text)
    say(text)
    return 130 if reason.text == STOPPED else 1 if failed else 0


def _close(config: RunConfig, chosen: Chosen, record: Record, found: Found, reason: str) -> Path | None:
    """Leave what is known on disk, and the report of it, which is given; None where nothing was asked.

    What cannot be written there is logged: it must not hide why the run ended.
    """
    from swarmeval.loadtest.report import NAME, write  # brings scipy and statsmodels along

    with unheeded():
        try:
            load_facts.write(record.folder, facts(config, chosen, record, found, reason == FINISHED))
            record.end(reason)
        except UserError as error:
            log.warning("%s", error)
        asked = (record.folder / request_rows.NAME).exists()
        return page(NAME, record.folder, lambda: write(record.folder)) if asked else None


def facts(config: RunConfig, chosen: Chosen, record: Record, found: Found, finished: bool) -> LoadFacts:
    """What the report knows beside the requests."""
    packages = ", ".join(config.loadtest.packages)
    return LoadFacts(
        title=f"{chosen.model}: tests for {packages}",
        run_id=record.run_id,
        finished=finished,
        slo=Slo(config.loadtest.slo_ttft_s, config.loadtest.slo_tpot_s),
        levels=tuple(found.levels),
        settings={
            "model": chosen.model, "fleet": config.fleet, "endpoints": ", ".join(config.endpoint.urls) or None,
            "packages": packages, "files of each": config.loadtest.files_per_package or "all",
            "functions": found.functions, "prompts": found.mode or None, "max_new_tokens": config.max_new_tokens,
            "sampling": f"temperature {config.temperature:g}, top_p {config.top_p:g}, top_k {config.top_k}"
            if config.do_sample else "greedy",
            "seed": config.seed, "sandbox": found.sandbox or None,
            **({"tidied by the model": str(found.tidied)} if found.tidied is not None else {}),
            **{f"skipped: {reason}": count for reason, count in sorted(found.skipped.items())},
        },
        energy_source=", ".join(sorted(record.manifest.get("idle_w", {}))) or None,
        memory=found.memory,
        worth={package: sums.cells() for package, sums in sorted(found.worth.items())} or None,
    )  # fmt: skip


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
