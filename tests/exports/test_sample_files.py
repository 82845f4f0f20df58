"""Samples for EvalPlus and lm-eval hold the judged programs, and their own libraries read them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from human_eval_runner import canonical_solutions
from swarmeval.errors import ConfigError, DataError
from swarmeval.exports import evalplus, lm_eval
from swarmeval.exports.exported_run import read
from swarmeval.tasks.catalog import load
from tests.support.exported_runs import WRONG, mixed_run

NOT_INSTALLED = "{} is not installed; its pins do not fit ours, so it is installed by hand for this test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_run(tmp_path_factory.mktemp("made") / "run")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_evalplus_gets_each_judged_program_and_no_failure(folder: Path, tmp_path: Path) -> None:
    note = evalplus.write(read(folder), tmp_path / "samples.jsonl")
    prompt = load("humaneval").tasks[0].prompt
    assert lines(tmp_path / "samples.jsonl") == [
        {
            "task_id": "HumanEval/0",
            "solution": prompt + canonical_solutions()["HumanEval/0"],
            "agent_id": 0,
            "sample": 0,
        },
        {"task_id": "HumanEval/0", "solution": prompt + WRONG, "agent_id": 1, "sample": 0},
        {"task_id": "HumanEval/1", "solution": "", "agent_id": 0, "sample": 0},
    ]
    assert note == "2 tasks have samples; evalplus.evaluate refuses a file that lacks one of its tasks"


def test_evalplus_reads_its_samples(folder: Path, tmp_path: Path) -> None:
    data = pytest.importorskip("evalplus.data", reason=NOT_INSTALLED.format("evalplus"))
    evalplus.write(read(folder), tmp_path / "samples.jsonl")
    found = list(data.load_solutions(str(tmp_path / "samples.jsonl")))
    assert [sample["task_id"] for sample in found] == ["HumanEval/0", "HumanEval/0", "HumanEval/1"]


def test_evalplus_refuses_other_benchmarks_and_names(folder: Path, tmp_path: Path) -> None:
    run = read(folder)
    with pytest.raises(
        ConfigError, match=r"^--output x.json: EvalPlus reads only files named \*.jsonl; change the name$"
    ):
        evalplus.write(run, Path("x.json"))
    run.ended.score["benchmark"] = "cruxeval_i"
    told = f"^{folder}: EvalPlus judges humaneval, humaneval_plus, mbpp_plus; this is a run of cruxeval_i$"
    with pytest.raises(DataError, match=told):
        evalplus.write(run, tmp_path / "x.jsonl")


def test_lm_eval_gets_a_line_per_task_with_all_its_answers(folder: Path, tmp_path: Path) -> None:
    results, samples = lm_eval.write(read(folder), tmp_path)
    date = "2027-01-15T08-00-00"
    assert (results, samples) == (
        tmp_path / "example__model" / f"results_{date}.json",
        tmp_path / "example__model" / f"samples_humaneval_{date}.jsonl",
    )
    first, second = lines(samples)
    task = load("humaneval").tasks[0]
    assert first["doc"]["task_id"] == "HumanEval/0"
    assert first["target"] == task.suite.text
    assert [len(repeats) for repeats in first["resps"]] == [2]
    assert first["filtered_resps"] == [[task.prompt + canonical_solutions()["HumanEval/0"], task.prompt + WRONG]]
    assert (first["metrics"], first["pass@1"], second["pass@1"]) == (["pass@1"], 0.5, 0.0)
    assert (second["resps"], second["filtered_resps"]) == ([["I cannot."]], [[""]])
    found = json.loads(results.read_text())
    assert found["results"]["humaneval"] == {
        "alias": "humaneval", "sample_len": 2, "pass@1,swarmeval": 0.25, "pass@1_stderr,swarmeval": 0.25,
    }  # fmt: skip
    assert found["n-samples"] == {"humaneval": {"original": 164, "effective": 2}}
    assert found["configs"]["humaneval"]["generation_kwargs"]["temperature"] == 0.5


def test_lm_eval_finds_and_shows_the_results(folder: Path, tmp_path: Path) -> None:
    utils = pytest.importorskip("lm_eval.utils", reason=NOT_INSTALLED.format("lm-eval"))
    files = [str(path) for path in lm_eval.write(read(folder), tmp_path)]
    assert utils.get_results_filenames(files) == files[:1]
    assert utils.get_sample_results_filenames(files) == files[1:]
    assert utils.get_file_task_name(Path(files[1]).name) == "humaneval"
    assert "|humaneval|0.1.0  |swarmeval|     0|pass@1|↑  | 0.25|±  |  0.25|" in utils.make_table(
        json.loads(Path(files[0]).read_text())
    )


def test_lm_eval_needs_the_name_of_a_model(folder: Path, tmp_path: Path) -> None:
    run = read(folder)
    run.ended.score["model_id"] = None
    unnamed = type(run)(run.ended, run.manifest, run.summary, "")
    told = f"^{folder}: imported replies name no model, which lm-eval's folders need; add --model NAME$"
    with pytest.raises(DataError, match=told):
        lm_eval.write(unnamed, tmp_path)


def test_names_of_lm_evals_files_stay_in_the_folder(folder: Path, tmp_path: Path) -> None:
    run = read(folder)
    with pytest.raises(DataError, match=r": the model is '\.\.', which names no folder; add --model NAME$"):
        lm_eval.write(replace(run, model=".."), tmp_path)
    run.ended.score["benchmark"] = "../b"
    _, samples = lm_eval.write(run, tmp_path)
    assert (samples.parent, samples.name[:15]) == (tmp_path / "example__model", "samples_..__b_2")
