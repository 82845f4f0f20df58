"""`python main.py serve`: serves the replicas of a fleet with an OpenAI-compatible API until Ctrl-C."""

import argparse
import asyncio
import signal
import socket
import sys

from swarmeval.commands.api_key import api_key
from swarmeval.commands.output import say
from swarmeval.session.fleet_choice import ChosenFleet, choose
from swarmeval.session.signals import handling_signals
from swarmeval.settings import loading
from swarmeval.settings.run_config import RunConfig
from swarmeval.watch.logs import log_to_screen

CLIENTS_OWN = ("system_prompt", "assistant_prefill")  # settings of runs that each client states in its messages


def serve(options: argparse.Namespace) -> int:
    """Load the fleet and answer requests until interrupted; return the exit code. Raises UserError."""
    if options.judge:
        from swarmeval.commands.serve_judge import serve_judge

        return serve_judge(options)
    from swarmeval.serving.http import allow_files, listener

    config = loading.load(options.config, loading.from_flags(vars(options), {}))
    unused = [name for name in CLIENTS_OWN if config.is_set(name)]
    if unused:
        print(f"swarmeval: serve: ignored, because clients state them: {', '.join(unused)}", file=sys.stderr)
    key = api_key(config.serve, "use the model")
    allow_files(config.serve.connections)
    chosen = choose(config)
    with log_to_screen(say, verbose=True), listener(config.serve.host, config.serve.port) as sock:
        asyncio.run(_serve(config, chosen, sock, key))
    return 0


async def _serve(config: RunConfig, chosen: ChosenFleet, sock: socket.socket, key: str | None) -> None:
    """Listen, also while replicas load. Raises UserError if no replica can answer."""
    from swarmeval.serving.app import Api
    from swarmeval.serving.example import curl
    from swarmeval.serving.http import HttpServer, url
    from swarmeval.serving.pool import Pool

    async with Pool(chosen.make(None), config.serve.queue) as pool:
        server = HttpServer(Api(pool, config, chosen.model, key).app(), config.serve.connections)

        async def announce() -> None:
            await pool.until_ready()
            assert pool.info is not None
            host, port = sock.getsockname()[:2]
            say(f"ready: {url(host, port)}, model {chosen.model}, {pool.rows} rows")
            reached = url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)
            example = curl(reached, chosen.model, pool.info.takes_chat, config.serve.key_env if key else None)
            say(f"Try it from another terminal{f' with {config.serve.key_env} set' if key else ''}:\n{example}")
            await pool.until_failed()

        with handling_signals(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), server.end)):
            serving = asyncio.create_task(server.serve(sock))
            readiness = asyncio.create_task(announce())
            await asyncio.wait([serving, readiness], return_when=asyncio.FIRST_COMPLETED)
            if readiness.done():
                server.end()
            await serving
        if readiness.done():
            readiness.result()
        readiness.cancel()
