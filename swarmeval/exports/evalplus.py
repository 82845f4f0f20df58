"""Samples for EvalPlus: one line per answer with task_id and solution, as `load_solutions` of evalplus 0.3.1 reads it.

A solution is the judged program without its tests. The fields agent_id and sample are ours; EvalPlus ignores them.
"""

from pathlib import Path

from swarmeval.errors import ConfigError, DataError
from swarmeval.exports.exported_run import ExportedRun, program
from swarmeval.files import make_folder, replaced
from swarmeval.runs.agent_files import json_text

BENCHMARKS = ("humaneval", "humaneval_plus", "mbpp_plus")  # that EvalPlus has under the same task ids


def write(run: ExportedRun, path: Path) -> str:
    """Write the samples; return a sentence on what EvalPlus would refuse, or "".

    Raises ConfigError, DataError or OutputError.
    """
    if run.benchmark not in BENCHMARKS:
        raise DataError(f"{run.folder}: EvalPlus judges {', '.join(BENCHMARKS)}; this is a run of {run.benchmark}")
    if path.suffix != ".jsonl":
        raise ConfigError(f"--output {path}: EvalPlus reads only files named *.jsonl; change the name")
    make_folder(path.parent)
    tasks, answered = run.tasks, set()
    with replaced(path) as file:
        for job, _, verdict in run.answers():
            if verdict is None:
                continue  # failed jobs have no answer
            answered.add(job.task_id)
            line = {
                "task_id": job.task_id,
                "solution": program(tasks[job.task_id], verdict),
                "agent_id": job.agent_id,
                "sample": job.sample,
            }
            file.write(json_text(line) + "\n")
    if len(answered) == run.tasks_in_all:
        return ""
    return f"{len(answered)} tasks have samples; evalplus.evaluate refuses a file that lacks one of its tasks"
