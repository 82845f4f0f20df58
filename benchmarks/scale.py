"""Scaling tests: cost of a million evaluations, time to resume a killed run, event loop lag with 64 workers.

    python benchmarks/scale.py [--only abc] [--samples N ...] [--workers N] [--judge-every N] [--json FILE]

Worker processes, sockets, coordinator, journal, ledger, run folder, monitor, status, result files and sandbox are real.
The model is scripted, and most verdicts are remembered: one reply in `--judge-every` is judged in the sandbox, the
others get the earlier verdict for the same text at no cost.

(a) One run per size: 61 agents x 164 tasks x `--samples`, which is 10,004 jobs per sample. (b) The journal of (a) is
cut as if the run had been killed. Another process resumes the run, finishes it and writes every file. (c) 64 worker
processes answer at a realistic pace, 8 rows at 2 to 5 s per answer, until the run is stopped. Event loop lag is sampled
every 10 ms. Every run is a separate process, and peak memory is that of this process, phase by phase.
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

AGENTS = 61  # times 164 tasks: 10,004 jobs per sample
CUT_ANSWERS = 1000  # answers cut off a journal's end, which the resumed run generates again


def before_the_last(journal: Path, answers: int) -> int:
    """Number of journal lines before the last `answers` answers; verdicts can be far behind their answers."""
    with journal.open("rb") as file:
        places = (number for number, line in enumerate(file) if line.startswith(b'{"completion"'))
        return deque(places, maxlen=answers)[0]


def cut(journal: Path, lines: int) -> None:
    """Truncate the journal after `lines` lines and half of the next one, as a kill would."""
    with journal.open("rb+") as file:
        for _ in range(lines):
            file.readline()
        place = file.tell()
        file.truncate(place + len(file.readline()) // 2)


def pace(number: int, of: int) -> Script:
    """The script of a worker with 8 rows and 2 to 5 s per answer, in steps of 0.1 s; the time differs per worker."""
    return Script(rows=8, steps=20 + 30 * number // max(1, of - 1), step_s=0.1)


def config_of(folder: Path, samples: int, workers: int) -> RunConfig:
    return RunConfig(
        engine="scripted", device="cpu", cpu_workers=workers, num_agents=AGENTS, num_samples=samples, eval_workers=2,
        output_dir=str(folder),
    )  # fmt: skip


def measure(part: str, folder: Path, samples: int, options: argparse.Namespace) -> Facts:
    """Run one part in this process."""
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
    """Run one part in a new process."""
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
    """Run all selected parts; each run's folder is deleted afterwards."""
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
    """One line per fact, one column per run."""
    for key in runs[0]:
        values = [run[key] for run in runs]
        yield f"  {key:24}" + "".join(f"{'-' if value is None else f'{value:,.1f}':>14}" for value in values)


def read(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, by default those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="abc", help="letters of the parts to run (b needs the runs of a)")
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 10, 100], help="sizes (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="workers of (a) and (b), which answer without delay")
    parser.add_argument("--many", type=int, default=64, help="workers of (c)")
    parser.add_argument("--judge-every", type=int, default=500, help="judge one reply in N in the sandbox")
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of (c)")
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines of the journal that is resumed last")
    parser.add_argument("--json", type=Path, help="write every run here")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # internal: run this part in this process, using --folder
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
