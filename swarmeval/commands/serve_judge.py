"""`python main.py serve --judge`: judges programs of clients over HTTP until Ctrl-C. Needs no model and no fleet."""

import argparse
import asyncio
import logging
import signal
import socket

from human_eval_runner import Judge, judge_of, prepared_toolchains
from swarmeval.commands.api_key import api_key
from swarmeval.commands.output import say
from swarmeval.errors import ConfigError
from swarmeval.sandbox.interpreters import commands_with
from swarmeval.sandbox.languages import languages
from swarmeval.sandbox.missing_layers import consequences
from swarmeval.sandbox.toolchains import Toolchain
from swarmeval.sandbox.warm_folders import ready
from swarmeval.session.signals import handling_signals
from swarmeval.settings import loading
from swarmeval.settings.run_config import JUDGE_SERVICE_USES, RunConfig
from swarmeval.tasks.catalog import HUMANEVAL, LoadedBenchmark, chosen
from swarmeval.watch.logs import log_to_screen

log = logging.getLogger("swarmeval")


def serve_judge(options: argparse.Namespace) -> int:
    """Answer requests until interrupted; return the exit code. Raises UserError."""
    from swarmeval.serving.http import allow_files, listener

    config = _settings(options)
    key = api_key(config.serve, "run programs in its sandbox")
    benchmark = chosen(config)
    toolchains = _toolchains(config, benchmark)
    allow_files(config.serve.connections)
    with log_to_screen(say, verbose=True), listener(config.serve.host, config.serve.port) as sock:
        asyncio.run(_serve(config, benchmark, toolchains, sock, key))
    return 0


def _settings(options: argparse.Namespace) -> RunConfig:
    values = loading.from_flags(vars(options), {})
    for key in values:
        if not {key, key.partition(".")[0]} & set(JUDGE_SERVICE_USES):
            used = ", ".join(sorted(JUDGE_SERVICE_USES))
            raise ConfigError(f"--set {key}: serve --judge does not use it; it uses {used}")
    return loading.load(options.config, values)


def _toolchains(config: RunConfig, benchmark: LoadedBenchmark) -> dict[str, Toolchain]:
    """The toolchains of the benchmark and of the languages on offer. Takes seconds the first time. Raises ConfigError.

    Unless languages are named, those without a toolchain are left out.
    """
    found = prepared_toolchains(benchmark.tasks, config.judge_python)
    commands = commands_with(config.judge_python)
    named = config.judge_service.languages
    for name in languages() if named is None else named:
        if name in found:
            continue
        try:
            found |= ready([name], commands)
        except ConfigError as error:
            if named is not None:
                raise ConfigError(f"judge_service.languages: {error}") from None
            say(f"not offered: {error}")
    return found


async def _serve(
    config: RunConfig,
    benchmark: LoadedBenchmark,
    toolchains: dict[str, Toolchain],
    sock: socket.socket,
    key: str | None,
) -> None:
    """Start the judge, then answer. Raises UserError if programs cannot be judged here."""
    from swarmeval.serving.http import HttpServer, url
    from swarmeval.serving.judge.app import JudgeApi
    from swarmeval.serving.judge.items import Maxima
    from swarmeval.serving.judge.service import JudgeService

    async with judge_of(config, benchmark.tasks, toolchains=toolchains) as judge:
        _warn_of_missing_layers(config, judge)
        await _prepare(config, judge)
        maxima = Maxima(config.eval_timeout, config.eval_memory_mb, config.judge_service.batch)
        waiting = config.judge_service.queue
        service = JudgeService(judge, toolchains, maxima, config.eval_workers, waiting)
        api = JudgeApi(service, config.serve, benchmark.name, key)
        server = HttpServer(api.app(), config.serve.connections)
        host, port = sock.getsockname()[:2]
        say(
            f"ready: {url(host, port)}/verdicts, {len(benchmark.tasks)} tasks of {benchmark.name}, "
            f"{config.eval_workers} programs at once, languages: {', '.join(toolchains) or 'none'}"
        )
        with handling_signals(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), server.end)):
            await server.serve(sock)


def _warn_of_missing_layers(config: RunConfig, judge: Judge) -> None:
    missing = judge.missing()
    if config.sandbox.mode == "none":
        log.warning("sandbox.mode: none: programs of clients can access your files")
    elif missing:
        reasons = "; ".join(f"no {layer}: {why}" for layer, why in missing.items())
        log.warning("sandbox: %s; %s", reasons, consequences(missing))


async def _prepare(config: RunConfig, judge: Judge) -> None:
    """Scale the time limit to this machine, and learn the calls of the benchmark's tests. Raises SandboxError."""
    if config.eval_timeout_scale == "auto":
        calibration = await judge.calibrate()
        if calibration.scale > 1:
            log.warning("Slow machine: time limit raised to %g s (%g x eval_timeout)", judge.limit_s, calibration.scale)
    else:
        judge.scale_timeout(config.eval_timeout_scale)
    if config.benchmark != HUMANEVAL:  # calibration has already run its solutions
        references = await judge.try_references()
        if references.failed:
            named = ", ".join(list(references.failed)[:5])
            log.warning("%s: reference solutions that fail: %d (%s)", config.benchmark, len(references.failed), named)
