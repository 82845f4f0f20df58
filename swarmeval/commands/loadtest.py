"""`python main.py loadtest`: requests unit tests for real packages under load, times them and evaluates the tests."""

import argparse
import asyncio
import logging
import os
import sys
from contextlib import closing
from pathlib import Path

from swarmeval.commands.output import say
from swarmeval.errors import ConfigError, UserError
from swarmeval.loadtest import facts as load_facts
from swarmeval.loadtest import request_rows
from swarmeval.loadtest.progress import LoadProgress
from swarmeval.monitor.host import hardware
from swarmeval.monitor.tracing.run_spans import Asked, make_spans
from swarmeval.monitor.tracking.making import check_trackers, make_tracker
from swarmeval.monitor.tracking.tracker import finish_all
from swarmeval.session.ending import FINISHED, STOPPED, Reason, page, recording_end
from swarmeval.session.fleet_choice import ChosenFleet, choose
from swarmeval.session.load_session import LoadResults, LoadSession
from swarmeval.session.load_summary import facts, summary
from swarmeval.session.run_record import Record, opened_anew
from swarmeval.session.signals import ignoring_interrupts
from swarmeval.session.watchers import SessionWatchers
from swarmeval.settings import load_rules, loading
from swarmeval.settings.run_config import RunConfig
from swarmeval.testgen.packages import find_roots
from swarmeval.watch.logs import log_to_screen

FLAGS = {"output_dir": "output_dir"}

log = logging.getLogger("swarmeval")


def loadtest(options: argparse.Namespace) -> int:
    """Run the load test, evaluate the generated tests and write the report; return the exit code. Raises UserError."""
    config = _settings(options)
    check_trackers(config, os.environ)
    find_roots(config.loadtest.packages)  # before anything is loaded, moved or created
    chosen = choose(config, single_try=True)
    with (
        opened_anew(config, chosen.check) as record,
        closing(LoadProgress()) as progress,
        log_to_screen(progress.note, config.verbose),
    ):
        record.note(hardware=hardware(), **chosen.facts())
        record.begin()
        tracker = make_tracker(config, record.folder, record.run_id, record.manifest)
        watchers = SessionWatchers(config, record, chosen.make(None), chosen.local_devices, tracker)
        asked = Asked(config, chosen.model)
        spans = make_spans(config, record.folder, record.run_id, record.manifest, asked)
        session = LoadSession(config, record, watchers, progress, spans)
        reason = Reason()
        try:
            with recording_end(reason):
                with watchers:
                    asyncio.run(session.run())
                    watchers.end()
                reason.text = FINISHED
        finally:
            report = _close(config, chosen, record, session.results, reason.text)
            finish_all([tracker, spans], {})
    if report is None:
        say(f"{reason.text}; no report was written")
        return 130 if reason.text == STOPPED else 2
    text, failed = summary(record.folder, report, session.results, reason.text)
    say(text)
    return 130 if reason.text == STOPPED else 1 if failed else 0


def _settings(options: argparse.Namespace) -> RunConfig:
    config = loading.load(options.config, loading.from_flags(vars(options), FLAGS))
    for fault in load_rules.faults(config):
        raise ConfigError(f"{options.config}: {fault}")
    for warning in (*config.warnings(), *load_rules.ignored(config)):
        print(f"swarmeval: {warning}", file=sys.stderr)
    return config


def _close(config: RunConfig, chosen: ChosenFleet, record: Record, results: LoadResults, reason: str) -> Path | None:
    """Write the results and the report; return the path of the report, or None if there were no requests.

    Logs write errors instead of raising them, which would hide the reason for the end of the run.
    """
    from swarmeval.loadtest.report import NAME, write  # imports scipy and statsmodels

    with ignoring_interrupts():
        try:
            load_facts.write(record.folder, facts(config, chosen, record, results, reason == FINISHED))
            record.end(reason)
        except UserError as error:
            log.warning("%s", error)
        has_requests = (record.folder / request_rows.NAME).exists()
        return page(NAME, record.folder, lambda: write(record.folder)) if has_requests else None
