"""`python main.py export` as a user calls it, and `score` on the files that it wrote: the verdicts are the same."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from human_eval_runner import canonical_solutions
from swarmeval.cli import make_parser
from swarmeval.commands.export import export
from swarmeval.commands.score import score as judge
from swarmeval.errors import ConfigError, DataError, UserError
from swarmeval.export_arguments import FORMATS
from swarmeval.tasks.catalog import load
from tests.support.command_line import swarmeval
from tests.support.exported_runs import mixed_run, whole_run

pytestmark = pytest.mark.slow

TASKS = 4


def score(path: Path, folder: Path) -> dict[str, Any]:
    """Judge a file of answers to the first tasks; return task_summary.json."""
    words = ("--output_dir", str(folder), "--num_tasks", str(TASKS), "--set", "eval_timeout_scale=1")
    code, out, err = swarmeval("score", str(path), *words)
    assert code == 0, out + err
    summary: dict[str, Any] = json.loads((folder / "task_summary.json").read_text())
    return summary


def exported(*words: str) -> int:
    """Run the command in this process."""
    return export(make_parser("export").parse_args(list(words)))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder of judged answers of every kind, and its task_summary.json."""
    made = tmp_path_factory.mktemp("made")
    tasks, right = load("humaneval").tasks[:TASKS], canonical_solutions()
    bodies = ["    return (\n", "    return None\n", "    raise ValueError('x')\n", ""]
    lines = [{"task_id": task.task_id, "agent_id": 0, "completion": right[task.task_id]} for task in tasks]
    lines += [
        {"task_id": task.task_id, "agent_id": 1, "reply": f"```python\n{task.prompt}{body}```" if body else "No."}
        for task, body in zip(tasks, bodies, strict=True)
    ]
    (made / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return made / "run", score(made / "replies.jsonl", made / "run")


def test_exported_answers_get_the_same_verdicts(judged: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, summary = judged
    assert [facts["passed"] for facts in summary.values()] == [1, 1, 1, 1]
    samples = tmp_path / "samples.jsonl"
    exported(str(folder), "--to", "evalplus", "--output", str(samples))
    assert score(samples, tmp_path / "evalplus") == summary
    code, out, _ = swarmeval(
        "export", str(folder), "--to", "lm-eval", "--output", str(tmp_path), "--model", "example/model"
    )
    assert code == 0
    assert score(Path(out.splitlines()[1]), tmp_path / "lm-eval") == summary
    manifest = json.loads((tmp_path / "lm-eval" / "manifest.json").read_text())
    assert (manifest["replies"]["format"], manifest["replies"]["lines"]) == ("lm-eval", 8)


def test_a_run_is_exported_to_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = whole_run(tmp_path / "run")
    for form in FORMATS:
        assert exported(str(folder), "--to", form, "--model", "a/b") == 0
    names = {path.name for path in (folder / "exports").iterdir()}
    assert names == {".eval_results", "a__b", "answers.csv", "answers.parquet", "data", "evalplus.jsonl"}
    printed = capsys.readouterr().out
    assert f"{folder}/exports/evalplus.jsonl\n{folder}/exports/a__b/results_" in printed
    assert printed.endswith("\\end{tabular}\n")


def test_several_runs_become_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(mixed_run(tmp_path / name)) for name in ("one", "two")]
    exported(*folders, "--to", "markdown")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[3].startswith("| two | example/model\\* | humaneval | 2 of 164 | 3 | 25.0 (")
    table = tmp_path / "new" / "table.tex"
    exported(*folders, "--to", "latex", "--output", str(table))
    assert capsys.readouterr().out == f"{table}\n"
    assert table.read_text().count("\\\\\n") == 4


REFUSED = {
    ("one", "two", "--to", "lm-eval"): "--to lm-eval: takes one folder; markdown, latex, csv, parquet take several",
    ("one", "two", "--to", "csv"): "--to csv: rows of several runs need --output FILE",
    ("one", "two", "--to", "latex", "--model", "m"): "--model: names the model of one run; give one folder",
    ("none", "--to", "csv"): "{}/none: not a run folder (no manifest.json)",
    ("one", "--to", "hf-eval-results"):
        "{}/one: the run is partial; a result in a model's repository is one of the whole benchmark",
}  # fmt: skip


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    folders = {name: mixed_run(tmp_path / name) for name in ("one", "two")} | {"none": tmp_path / "none"}
    for words, told in REFUSED.items():
        with pytest.raises(UserError, match=f"^{re.escape(told.format(tmp_path))}$"):
            exported(*(str(folders.get(word, word)) for word in words))
    assert not (tmp_path / "one" / "exports").exists()


def test_a_file_that_score_cannot_read_is_one_line(tmp_path: Path) -> None:
    path, folder = tmp_path / "generations.json", tmp_path / "out"
    path.write_text('[["x"]]')

    def scored(*words: str) -> int:
        return judge(make_parser("score").parse_args([str(path), "--output_dir", str(folder), *words]))

    told = re.escape(f"{path}: bigcode's lists follow the order of all tasks; remove task_ids and released")
    with pytest.raises(ConfigError, match=f"^{told}$"):
        scored("--set", "task_ids=[HumanEval/0]")
    told = re.escape(f"{path}: not a log of Inspect with samples; run Inspect without --no-log-samples")
    with pytest.raises(DataError, match=f"^{told}$"):
        scored("--format", "inspect")
    assert not folder.exists()
