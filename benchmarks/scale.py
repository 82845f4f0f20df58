"""What a million evaluations cost, how soon a killed run goes on, and how late the event loop is with 64 workers.

    python benchmarks/scale.py [--only abc] [--samples N ...] [--workers N] [--judge-every N] [--json FILE]

Real: worker processes, sockets, coordinator, journal, ledger, run folder, monitor, status, result files, sandbox. Not
real: the model (scripted replies), and most verdicts. One reply in `--judge-every` is judged in the sandbox; the others
get the verdict that the sandbox gave to the same text before, which takes no time.

(a) A run of each size: 61 agents x 164 tasks x `--samples`, 10,004 jobs a sample. (b) Its journal is cut as a kill
cuts it; another process resumes the run, ends it and writes every file. (c) 64 worker processes that answer at the
pace of real ones, 8 rows of 2 to 5 s each; it is stopped in the end. How late the loop is, is looked at every 10 ms.
Every run is a process of its own; peaks of memory are that process's alone, phase by phase.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.scripted_run import Facts, ScriptedRun
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.replica_spec import Script

AGENTS = 61  # by 164 tasks: 10,004 jobs a sample
CUT_ANSWERS = 1000  # off a journal's end: what a resumed run has still to do


def before_the_last(journal: Path, answers: int) -> int:
    """How many lines of a journal stand before its last so many answers: verdicts may be far behind them."""
    with journal.open("rb") as file:
        places = (number for number, line in enumerate(file) if line.startswith(b'{"completion"'))
        return deque(places, maxlen=answers)[0]


def cut(journal: Path, lines: int) -> None:
    """Leave so many lines and the half of another: what a kill leaves."""
    with journal.open("rb+") as file:
        for _ in range(lines):
            file.readline()
        place = file.tell()
        file.truncate(place + len(file.readline()) // 2)


def pace(number: int, of: int) -> Script:
    """A worker of 8 rows whose answers take 2 to 5 s, in steps of 0.1 s: each worker its own time."""
    return Script(rows=8, steps=20 + 30 * number // max(1, of - 1), step_s=0.1)


def config_of(folder: Path, samples: int, workers: int) -> RunConfig:
    return RunConfig(
        engine="scripted", device="cpu", cpu_workers=workers, num_agents=AGENTS, num_samples=samples, eval_workers=2,
        output_dir=str(folder),
    )  # fmt: skip


def measure(part: str, folder: Path, samples: int, options: argparse.Namespace) -> Facts:
    """One part, in this process."""
    workers = options.many if part == "pace" else options.workers
    scripts = [pace(number, workers) if part == "pace" else Script(rows=64) for number in range(workers)]
    session = ScriptedRun(config_of(folder, samples, workers), scripts, options.judge_every, options.spawned_at)
    match part:
        case "run":
            return session.run()
        case "resume":
            cut(folder / JOURNAL, before_the_last(folder / JOURNAL, CUT_ANSWERS))
            return session.run(end=True)
        case "lines":
            cut(folder / JOURNAL, options.lines)
            return session.run(stop_after_s=0.0)
        case _:
            return session.run(stop_after_s=options.seconds)


def measured(part: str, folder: Path, samples: int, options: argparse.Namespace) -> Facts:
    """One part, in a process of its own."""
    print(f"{part}, {samples} samples, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    arguments = [
        "--part",
        part,
        "--folder",
        str(folder),
        "--samples",
        str(samples),
        "--spawned-at",
        str(time.monotonic()),
    ]
    arguments += [f"--{name.replace('_', '-')}={getattr(options, name)}"
              for name in ("workers", "many", "judge_every", "seconds", "lines")]  # fmt: skip
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
    facts: Facts = json.loads(done.stdout)
    return facts


def all_parts(options: argparse.Namespace) -> dict[str, list[Facts]]:
    """The runs of each part; the folders of all lie in one, and each is gone when it has served."""
    facts: dict[str, list[Facts]] = {}
    with tempfile.TemporaryDirectory() as home:
        if "c" in options.only:
            facts["pace"] = [measured("pace", Path(home, "pace"), max(options.samples), options)]
        for samples in options.samples if {"a", "b"} & set(options.only) else ():
            with tempfile.TemporaryDirectory(dir=home) as folder:
                facts.setdefault("run", []).append(measured("run", Path(folder), samples, options))
                if "b" not in options.only:
                    continue
                facts.setdefault("resume", []).append(measured("resume", Path(folder), samples, options))
                if samples == max(options.samples):
                    facts["lines"] = [measured("lines", Path(folder), samples, options)]
    return facts


def table(runs: Sequence[Facts]) -> Iterator[str]:
    """A line for each fact, a column for each run."""
    for key in runs[0]:
        values = [run[key] for run in runs]
        yield f"  {key:24}" + "".join(f"{'-' if value is None else f'{value:,.1f}':>14}" for value in values)


def read(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or these words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="abc", help="which of them (b needs the runs of a)")
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 10, 100], help="sizes (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="of (a) and (b), as fast as they can")
    parser.add_argument("--many", type=int, default=64, help="workers of (c)")
    parser.add_argument("--judge-every", type=int, default=500, help="1: the sandbox judges every reply")
    parser.add_argument("--seconds", type=float, default=60.0, help="that (c) is looked at")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of the journal that is resumed in the end")
    parser.add_argument("--json", type=Path, help="write every run here")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # measure it in this process, into --folder
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--spawned-at", type=float, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    options = read()
    if options.part:
        print(json.dumps(measure(options.part, options.folder, options.samples[0], options)))
        return
    facts = all_parts(options)
    if options.json:
        options.json.write_text(json.dumps(facts, indent=2) + "\n")
    for part, runs in facts.items():
        print(f"\n{part}")
        for line in table(runs):
            print(line)


if __name__ == "__main__":
    main()
