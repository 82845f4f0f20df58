"""Memory of a load run as a function of the number of functions to be tested.

    python benchmarks/testgen_memory.py [--functions 3000 6000 12000 24000] [--packages numpy] [--json FILE]

Runs `main.py loadtest` over a scripted worker with 64 clients, each run in a new process. Reports the resident memory
sampled by the run's own monitor during the load. The same modules are repeated, so that runs differ only in the number
of functions; the memory for parsing one large module is part of all of them. The run is stopped at the end of the load,
before the tests are evaluated. In the published study that this workload comes from, memory grew with the number of
functions.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from swarmeval.loadtest.request_rows import read
from swarmeval.runs.csv_trace import rows

SCRIPT = {"rows": 64, "steps": 4, "step_s": 0.002}
WEIGHING = "weighing test files"


def one(functions: int, packages: list[str]) -> dict[str, float | int]:
    """Run one load test that requests tests for `functions` functions, each once."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.json")
        script.write_text(json.dumps(SCRIPT), encoding="utf-8")
        run = Path(folder, "run")
        arguments = [sys.executable, "main.py", "loadtest", "--output_dir", str(run), "--set"]
        arguments += ["engine=scripted", f"model_id={script}", "loadtest.files_per_package=null"]
        arguments += [
            f"loadtest.packages=[{','.join(packages)}]",
            f"loadtest.levels=[{{concurrency: 64, count: {functions}}}]",
            "monitor.interval_s=0.2",
        ]
        began = time.monotonic()
        with subprocess.Popen(
            arguments, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if WEIGHING in line:
                    break
            loaded_s = time.monotonic() - began
            process.send_signal(signal.SIGTERM)
            process.communicate()
        load_rows = list(read(run))
        sizes = [float(row["coordinator_rss_mb"]) for row in rows(run / "resource_trace.csv")]
        at_load = sizes[: max(1, int(loaded_s / 0.2))]
        return {
            "functions": len(load_rows),
            "modules": len({row.module for row in load_rows}),
            "requests_per_s": len(load_rows) / max(row.request.last_s for row in load_rows),
            "first_mb": at_load[0],
            "peak_mb": max(at_load),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, nargs="+", default=[3000, 6000, 12000, 24000])
    parser.add_argument("--packages", nargs="+", default=["numpy"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = []
    for functions in options.functions:
        figures.append(one(functions, options.packages))
        print("  ".join(f"{key} {value:,.4g}" for key, value in figures[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
