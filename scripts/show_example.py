"""Shows one answer of a run from prompt to verdict, and lists the result files. The last step of scripts/demo.

Takes main.py's arguments to find the run folder. Only reads files.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from human_eval_runner import load_tasks
from swarmeval.errors import UserError
from swarmeval.records import Outcome
from swarmeval.settings import loading
from swarmeval.settings.run_config import EMBEDDED, RunConfig
from swarmeval.watch.progress_text import percent


def main(arguments: Sequence[str]) -> int:
    try:
        settings = run_settings(arguments)
        folder = Path(settings.output_dir)
        parts = [example(folder, settings.model_id), results(folder), next_steps(folder), ending(folder, settings)]
        sys.stdout.write("\n" + "\n".join(parts))
    except UserError as error:
        sys.stderr.write(f"scripts/demo: {error}\n")
        return 2
    return 0


def run_settings(arguments: Sequence[str]) -> RunConfig:
    """The settings that determine the run folder and the model, from the arguments of scripts/demo."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default="config/smoke.yaml")
    parser.add_argument("--output_dir")
    parser.add_argument("--num_tasks")
    parser.add_argument("--set", nargs="+", action="extend", default=[])
    known, _ = parser.parse_known_args(arguments)
    overrides = loading.parse_set(known.set)
    if known.output_dir is not None:
        overrides["output_dir"] = known.output_dir
    if known.num_tasks is not None:
        overrides["task_ids"] = None
    return loading.load(known.config, overrides)


def answers(folder: Path) -> Iterator[dict[str, Any]]:
    """All lines with a reply in the agents' result files, with the agent's id added."""
    for path in sorted(folder.glob("agent_*_results.jsonl")):
        agent = path.name.removeprefix("agent_").removesuffix("_results.jsonl")
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                answer = json.loads(line)
                if answer.get("reply"):
                    yield {**answer, "agent": agent}


def example(folder: Path, model_id: str) -> str:
    """One answer from prompt to verdict, preferably one that passed."""
    first = None
    for answer in answers(folder):
        if answer["passed"]:
            return shown(answer)
        first = first or answer
    if first is None:
        return f"No answer to show: {folder} holds no reply.\n"
    why = ": this model of 135 million parameters solves about one task in twenty" if model_id == EMBEDDED else ""
    return f"{shown(first)}\nNone of the answers passed{why}.\n"


def shown(answer: dict[str, Any]) -> str:
    prompts = {task.task_id: task.prompt for task in load_tasks()}
    title = f"One of the answers: {answer['task_id']} by agent {answer['agent']}, sample {answer['sample']}"
    verdict = answer["outcome"] + (f": {answer['detail']}" if answer.get("detail") else "")
    if answer["outcome"] == Outcome.PASSED:
        verdict += ": prompt, candidate and the benchmark's tests ran as one program without an error"
    parts = {
        "The prompt": prompts.get(answer["task_id"], "(not in the benchmark any more)"),
        "The model's reply": answer["reply"],
        "The candidate: code from the reply, appended to the prompt": answer["completion"] or "(no code)",
        "The verdict": verdict,
    }
    sections = [f"{name}\n{quoted(text)}\n" for name, text in parts.items()]
    return f"{title}\n{'-' * len(title)}\n" + "\n".join(sections)


def quoted(text: str) -> str:
    return "\n".join(f"    | {line}".rstrip() for line in text.strip("\n").splitlines())


def results(folder: Path) -> str:
    """The most useful result files, if they exist."""
    files = {
        "report.html": "the whole run on one page: open it in a browser",
        "score.json": "pass@k, speed, outcome counts: " + scores(folder / "score.json"),
        "agent_summary.json": "the same per agent",
        "agent_0_results.jsonl": "every reply, candidate and verdict of agent 0",
        "metrics.csv": "one row per answer: tokens, latency, outcome",
        "resource_trace.csv": "CPU and memory during the run",
        "manifest.json": "settings, versions and hardware, to repeat the run",
    }
    lines = [f"  {name:<22} {what}" for name, what in files.items() if (folder / name).exists()]
    return "\n".join([f"The results are in {folder}", *lines]) + "\n"


def scores(path: Path) -> str:
    """The headline of a score.json in a few words."""
    if not path.exists():
        return ""
    score = json.loads(path.read_text(encoding="utf-8"))
    rate = "undefined" if score["pass@1"] is None else percent(score["pass@1"])
    return f"pass@1 {rate} of {score['evaluations']} evaluations, {score['failures']} failures"


def next_steps(folder: Path) -> str:
    return f"""What to try next
  .venv/bin/python metrics_dashboard.py --run {folder} --once
      shows this run on one screen; without --once, in a second terminal, follows a run live
  .venv/bin/python main.py --config config/smoke.yaml --num_agents 3 --num_tasks 20 --output_dir logs/three
      more agents and tasks; interrupt it and repeat the command: it resumes
  .venv/bin/python main.py
      the reference run, Llama 3.1 8B and 50 agents; needs CUDA and HF_TOKEN (config/config.yaml)
"""


def ending(folder: Path, settings: RunConfig) -> str:
    """The path of the report, and what its score is not."""
    chosen = ""
    if settings.task_ids is not None:
        chosen = "The tasks were chosen to show passes and failures: their pass@1 is not a HumanEval score.\n"
    report = folder / "report.html"
    return chosen + (f"Open this report in a browser: {report.resolve()}\n" if report.exists() else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
