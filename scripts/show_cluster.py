"""Shows a run of the bundled model on a local Ray cluster; during the run one node is killed and another added.

.venv/bin/python -m scripts.show_cluster [FOLDER]
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.ray_nodes import nodes

ROOT = Path(__file__).resolve().parent.parent
KILL_AT, ADD_AT = 16, 17  # jobs answered


def main(folder: Path) -> int:
    began = time.monotonic()

    def report(what: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - began:6.1f} s] {what}\n")
        sys.stdout.flush()

    def wait_for(jobs: int) -> int:
        """Wait until this many jobs are answered or the run has ended; return the number answered."""
        done = 0
        while done < jobs and run.poll() is None:
            time.sleep(0.2)
            path = folder / "status.json"
            done = json.loads(path.read_text(encoding="utf-8"))["done_jobs"] if path.exists() else 0
        return done

    with nodes(1) as cluster:
        last = cluster.add()
        report("a head and two nodes of one CPU each")
        command = [
            "main.py", "--config", "config/smoke.yaml", "--num_agents", "12", "--output_dir", str(folder),
            "--set", "fleet=ray", f"ray.address={cluster.address}", "replica.rows=8",
            "max_new_tokens=64",
            "workers.max_in_flight=2",
        ]  # fmt: skip
        report("$ python " + " ".join(command))
        run = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        report(f"{wait_for(KILL_AT)} jobs are answered: the second node is killed")
        cluster.kill(last)
        report(f"{wait_for(ADD_AT)} jobs are answered: a node is added")
        cluster.add()
        output, _ = run.communicate()
        report(f"exit code {run.returncode}")
    sys.stdout.write(output)
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sys.stdout.write(f"metrics.csv: {len(rows)} rows, {len({row['job_id'] for row in rows})} different jobs\n")
    for device, count in Counter(row["device"] for row in rows).items():
        again = sum(row["device"] == device and int(row["attempts"]) > 1 for row in rows)
        sys.stdout.write(f"  {device}: {count} jobs, {again} of them at a second attempt\n")
    sys.stdout.write((folder / "run.log").read_text(encoding="utf-8"))
    return run.returncode


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else made)))
