"""`python main.py export DIR --to FORMAT`: writes finished runs in the formats of other tools."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from swarmeval.commands.output import say
from swarmeval.errors import ConfigError
from swarmeval.exports import csv_table, evalplus, every_eval_ever, hf_eval_results, lm_eval, parquet
from swarmeval.exports.exported_run import ExportedRun, read
from swarmeval.exports.latex import latex
from swarmeval.exports.markdown import markdown
from swarmeval.files import make_folder, replaced

PRINTED: dict[str, Callable[[Sequence[ExportedRun]], str]] = {"markdown": markdown, "latex": latex}
ANSWERS = {"csv": "answers.csv", "parquet": "answers.parquet"}  # formats with a row per answer: default file names
FOLDER = "exports"  # in a run's folder


def export(options: argparse.Namespace) -> int:
    """Write the files and print their paths; return 0. Raises UserError."""
    folders, output = [Path(folder) for folder in options.folders], options.output and Path(options.output)
    if len(folders) > 1:
        _check_several(options)
    runs = [read(folder, options.model) for folder in folders]
    if options.to in PRINTED:
        _table(PRINTED[options.to](runs), output)
    elif options.to in ANSWERS:
        _answers(options.to, runs, output or folders[0] / FOLDER / ANSWERS[options.to])
    elif options.to == "evalplus":
        path = output or folders[0] / FOLDER / "evalplus.jsonl"
        lacks = evalplus.write(runs[0], path)
        say(f"{path}\nnote: {lacks}" if lacks else str(path))
    elif options.to == "hf-eval-results":
        say(str(hf_eval_results.write(runs[0], output or folders[0] / FOLDER)))
    else:
        write = lm_eval.write if options.to == "lm-eval" else every_eval_ever.write
        say("\n".join(map(str, write(runs[0], output or folders[0] / FOLDER))))
    return 0


def _check_several(options: argparse.Namespace) -> None:
    """Raise ConfigError for flags that go with one folder only."""
    if options.to not in (*PRINTED, *ANSWERS):
        raise ConfigError(f"--to {options.to}: takes one folder; {', '.join((*PRINTED, *ANSWERS))} take several")
    if options.model:
        raise ConfigError("--model: names the model of one run; give one folder")
    if options.to in ANSWERS and not options.output:
        raise ConfigError(f"--to {options.to}: rows of several runs need --output FILE")


def _table(text: str, output: Path | None) -> None:
    if output is None:
        say(text.rstrip("\n"))
        return
    make_folder(output.parent)
    with replaced(output) as file:
        file.write(text)
    say(str(output))


def _answers(kind: str, runs: Sequence[ExportedRun], path: Path) -> None:
    make_folder(path.parent)
    if kind == "parquet":
        parquet.write(runs, path)
    else:
        with replaced(path) as file:
            csv_table.write(runs, file)
    say(str(path))
