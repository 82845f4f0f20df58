"""`python main.py --benchmark testgen`: unit tests for real packages, asked for under load, timed and weighed."""

import asyncio
import logging
from contextlib import closing
from pathlib import Path

from bench.errors import UserError
from bench.settings import RunConfig
from commands.fleets import Chosen, choose
from commands.load_session import Found, LoadSession
from commands.load_summary import summary
from commands.open_run import Record, opened_anew
from commands.session import FINISHED, STOPPED, Reason, ended, page
from commands.signals import unheeded
from commands.summary import say
from commands.watching import Watching
from serving import load_facts, rows
from serving.load_facts import LoadFacts, Slo
from testgen.packages import roots
from watch.host import hardware
from watch.load_progress import LoadProgress
from watch.logs import shown
from watch.tracking import make_tracker

log = logging.getLogger("swarmeval")


def testgen(config: RunConfig) -> int:
    """Put load on what answers, write and weigh the tests, report; gives the exit code. Raises UserError."""
    roots(config.packages)  # before anything is loaded, moved or made
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
    from watch.load_report import NAME, write  # brings scipy and statsmodels along

    with unheeded():
        try:
            load_facts.write(record.folder, facts(config, chosen, record, found, reason == FINISHED))
            record.end(reason)
        except UserError as error:
            log.warning("%s", error)
        asked = (record.folder / rows.NAME).exists()
        return page(NAME, record.folder, lambda: write(record.folder)) if asked else None


def facts(config: RunConfig, chosen: Chosen, record: Record, found: Found, finished: bool) -> LoadFacts:
    """What the report knows beside the requests."""
    packages = ", ".join(config.packages)
    return LoadFacts(
        title=f"{chosen.model}: tests for {packages}",
        run_id=record.run_id,
        finished=finished,
        slo=Slo(config.slo_ttft_s, config.slo_tpot_s),
        levels=tuple(found.levels),
        settings={
            "model": chosen.model, "fleet": config.fleet, "endpoints": ", ".join(config.endpoints) or None,
            "packages": packages, "files of each": config.files_per_package or "all", "functions": found.functions,
            "prompts": found.mode or None, "max_new_tokens": config.max_new_tokens,
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
