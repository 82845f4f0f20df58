"""Command-line flags -> the command's function -> exit code. Imports nothing heavy: --help answers at once.

Exit codes: 0 done; 1 ended with failures recorded; 2 the user must change something; 130 interrupted, resumable.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from swarmeval import secrets
from swarmeval.errors import UserError
from swarmeval.home import settle_in
from swarmeval.location import command as typed
from swarmeval.version import VERSION


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"swarmeval: {message}; see {self.prog} --help\n")


@dataclass(frozen=True, slots=True)
class Command:
    """What is said of a command, and what it takes."""

    brief: str  # in the list of commands
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument("--num_tasks", type=int, metavar="N", help="only the first N tasks (humaneval_limit)")
    parser.add_argument("--num_agents", type=int, metavar="N", help="how many agents")
    parser.add_argument("--benchmark", metavar="NAME", help="which tasks: humaneval")
    parser.add_argument("--output_dir", metavar="DIR", help="the run folder")
    parser.add_argument("--fresh", action="store_true", help="archive what is in the run folder instead of resuming it")
    parser.add_argument(
        "--trace", action="store_true", default=None, help="where the time goes: trace.json and flame graphs"
    )
    parser.add_argument(
        "--dashboard", action="store_true", help="show the live dashboard in this terminal; q leaves it"
    )
    _add_set(parser)
    parser.add_argument("--version", action="version", version=f"swarmeval {VERSION}")


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("replies", metavar="REPLIES.jsonl", help="the file to judge")
    parser.add_argument("--benchmark", metavar="NAME", help="which tasks: humaneval")
    parser.add_argument(
        "--num_tasks", type=int, metavar="N", help="only the first N tasks were meant (humaneval_limit)"
    )
    parser.add_argument(
        "--missing",
        choices=("warn", "fail"),
        default="warn",
        help="tasks without a reply: warn leaves them out of the score and says so, fail counts them as failures",
    )
    parser.add_argument("--output_dir", metavar="DIR", help="where results go (default: logs/score)")
    parser.add_argument("--eval_workers", type=int, metavar="N", help="programs judged at once")
    parser.add_argument("--eval_timeout", type=float, metavar="S", help="seconds a program may run")
    parser.add_argument(
        "--extractors",
        default="ours",
        metavar="NAME,...",
        help="also under the rules of other harnesses: human-eval, bigcode, lm-eval, lm-eval-instruct, simple-evals, "
        "inspect-evals, evalplus (if installed); or all",
    )
    parser.add_argument("--fresh", action="store_true", help="archive what is in the folder instead of resuming it")
    _add_set(parser)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the folder of a run")
    parser.add_argument("b", metavar="B", help="the folder of another")


def _add_union(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("names", metavar="NAME", nargs="*", help="profiles (default: all of the run)")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    _add_set(parser)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the folder of a run")


def _add_loadtest(parser: argparse.ArgumentParser) -> None:
    _add_config(parser, "config/loadtest.yaml")
    parser.add_argument("--output_dir", metavar="DIR", help="the run folder")
    _add_set(parser)


def _add_config(parser: argparse.ArgumentParser, path: str = "config/config.yaml") -> None:
    parser.add_argument("--config", default=path, metavar="PATH", help="settings (default: %(default)s)")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting; docs/settings.md lists them",
    )


RUN = Command(
    "", "Run a swarm of agents over every task of a code benchmark and score what they write.", _add_run
)  # the one that needs no name
COMMANDS = {
    "score": Command(
        "judge replies made elsewhere",
        "Judge replies made elsewhere: one JSON object a line, with task_id and one of reply (raw model text), "
        "completion (human-eval style) or solution (a whole program); optional agent_id and sample.",
        _add_score,
    ),
    "compare": Command(
        "two runs over the same tasks, side by side",
        "Compare two finished runs over the same tasks: scores with intervals, tasks that flipped, exact McNemar p, "
        "speed, memory, energy.",
        _add_compare,
    ),
    "union": Command(
        "what several profiles of a run find together",
        "What several profiles (agents of one name) of a run find together: the chance that one of an answer of each "
        "passes, and pass@k of all their answers.",
        _add_union,
    ),
    "report": Command(
        "a run on one page: report.html in its folder",
        "A run on one page, finished or not: report.html in its folder, replies included, which loads nothing from "
        "anywhere. Every run makes its own when it ends.",
        _add_folder,
    ),
    "serve": Command(
        "the model behind OpenAI's API",
        "The model behind OpenAI's API: /v1/chat/completions, /v1/completions, /v1/models, /health and /metrics, until "
        "Ctrl-C.",
        _add_settings,
    ),
    "loadtest": Command(
        "a model or a server under load: latency and throughput",
        "Ask for unit tests for real packages under the load that loadtest.levels states: which law latencies follow, "
        "and what the tests are worth. It is never resumed: what the folder holds is archived.",
        _add_loadtest,
    ),
    "doctor": Command(
        "before an expensive run: is this machine fit for it",
        "Look whether this machine, its sandbox and the model are fit for a run with these settings, in under a "
        "minute. Exit code 0: fit; 2: unfit.",
        _add_settings,
    ),
}


def make_parser(name: str | None = None) -> argparse.ArgumentParser:
    """What a command takes; without a name, the main job."""
    command = RUN if name is None else COMMANDS[name]
    commands = (f"  {other:8} {one.brief} ({typed()} {other} --help)" for other, one in COMMANDS.items())
    prog = typed().removeprefix("python ")
    parser = OneLineParser(
        prog=f"{prog} {name}" if name else prog,
        description=command.description,
        epilog=None if name else "\n".join(["commands:", *commands]),
        formatter_class=argparse.HelpFormatter if name else argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return parser


def load(name: str | None) -> Callable[[argparse.Namespace], int]:
    """The function of a command; it alone brings along what it needs."""
    if name == "score":
        from swarmeval.commands.score import score as command
    elif name == "compare":
        from swarmeval.commands.compare import compare as command
    elif name == "union":
        from swarmeval.commands.union import show_union as command
    elif name == "report":
        from swarmeval.commands.report import report as command
    elif name == "serve":
        from swarmeval.commands.serve import serve as command
    elif name == "loadtest":
        from swarmeval.commands.loadtest import loadtest as command
    elif name == "doctor":
        from swarmeval.commands.doctor import doctor as command
    else:
        from swarmeval.commands.run import run as command
    return command


def open_closed_streams() -> None:
    """Put /dev/null where stdin, stdout or stderr was closed, before a socket gets its number and is taken for it."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without the letter costs the letter only


def leave_broken_streams() -> None:
    """Have what a screen that is gone was to show go nowhere: Python would exit with 120 for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    open_closed_streams()
    secrets.guard()
    words = list(sys.argv[1:] if argv is None else argv)
    name = words.pop(0) if words and not words[0].startswith("-") else None
    if name is not None and name not in COMMANDS:
        make_parser().error(f"there is no command {name!r}; there is: {', '.join(COMMANDS)}")
    try:
        options = make_parser(name).parse_args(words)
        settle_in(os.environ)
        return load(name)(options)
    except UserError as error:
        print(f"swarmeval: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        leave_broken_streams()


if __name__ == "__main__":
    sys.exit(main())
