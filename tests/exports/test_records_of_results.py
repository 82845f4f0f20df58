"""Records for Every Eval Ever and the Hugging Face hub follow the published schemas and contain no made-up value."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from swarmeval.errors import DataError
from swarmeval.exports import every_eval_ever, hf_eval_results
from swarmeval.exports.exported_run import ExportedRun, read
from tests.support.checkout import ROOT
from tests.support.exported_runs import mixed_run, whole_run

PUBLISHED = ROOT.parent / "shared" / "data" / "every_eval_ever"  # the published schemas, if present


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ExportedRun:
    return read(mixed_run(tmp_path_factory.mktemp("made") / "mixed"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ExportedRun:
    return read(whole_run(tmp_path_factory.mktemp("made") / "whole"))


def schema(name: str) -> Any:
    """A published schema, from the installed package or from beside the checkout."""
    spec = importlib.util.find_spec("every_eval_ever")
    installed = [] if spec is None else [Path(place, "schemas") for place in spec.submodule_search_locations or ()]
    path = next((folder / name for folder in (*installed, PUBLISHED) if (folder / name).exists()), None)
    if path is None:
        pytest.skip(f"{name} is neither in an installed every-eval-ever nor beside this checkout")
    return json.loads(path.read_text())


def test_the_published_schemas_accept_scores_and_answers(mixed: ExportedRun, tmp_path: Path) -> None:
    scores, samples = schema("eval.schema.json"), schema("instance_level_eval.schema.json")
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    record, answers = every_eval_ever.write(mixed, tmp_path)
    jsonschema.validate(json.loads(record.read_text()), scores)
    for line in answers.read_text().splitlines():
        jsonschema.validate(json.loads(line), samples)


def test_scores_and_answers_of_every_eval_ever_name_each_other(mixed: ExportedRun, tmp_path: Path) -> None:
    scores, answers = every_eval_ever.write(mixed, tmp_path)
    assert scores.parent == tmp_path / "data" / "humaneval" / "example" / "model"
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.json", scores.name)
    assert answers.name == f"{scores.stem}_samples.jsonl"
    record = json.loads(scores.read_text())
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert record["detailed_evaluation_results"]["total_rows"] == len(lines) == 3
    assert {line["evaluation_id"] for line in lines} == {record["evaluation_id"]}
    assert {line["evaluation_result_id"] for line in lines} == {
        result["evaluation_result_id"] for result in record["evaluation_results"]
    }
    again, _ = every_eval_ever.write(mixed, tmp_path)
    assert again == scores


def test_every_eval_ever_gets_measured_values_only(mixed: ExportedRun) -> None:
    record = every_eval_ever.aggregate(mixed, 1.0)
    (result,) = record["evaluation_results"]
    low, high = mixed.score["intervals"]["pass@1"]
    assert result["score_details"] == {
        "score": 0.25,
        "details": {"evaluations": "3", "passed": "1", "failures": "1", "partial": "True"},
        "uncertainty": {
            "confidence_interval": {
                "lower": low, "upper": high, "confidence_level": 0.95, "method": every_eval_ever.INTERVAL,
            },
            "num_samples": 2,
        },
    }  # fmt: skip
    assert result["generation_config"]["generation_args"] == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "max_tokens": mixed.ended.config["max_new_tokens"],
    }  # fmt: skip
    assert record["model_info"]["additional_details"] == {
        "deployment_type": "self_deployed",
        "model_availability": "unknown",
    }


@pytest.mark.parametrize("model", ["scripted", "", "/models/tiny", "a/../b"])
def test_a_model_without_a_developer_is_refused(mixed: ExportedRun, tmp_path: Path, model: str) -> None:
    run = ExportedRun(mixed.ended, mixed.manifest, mixed.summary, model)
    with pytest.raises(DataError, match=r"; its data store needs a developer: add --model DEVELOPER/NAME$"):
        every_eval_ever.write(run, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_benchmark_named_like_a_path_stays_in_the_folder(tmp_path: Path) -> None:
    run = read(mixed_run(tmp_path / "run"))
    run.ended.score["benchmark"] = "../../b"
    scores, answers = every_eval_ever.write(run, tmp_path / "out")
    assert scores.parent == answers.parent == tmp_path / "out" / "data" / ".._.._b" / "example" / "model"


def test_the_hub_reads_its_result(whole: ExportedRun, tmp_path: Path) -> None:
    path = hf_eval_results.write(whole, tmp_path)
    assert path == tmp_path / ".eval_results" / "humaneval.yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("openai/openai_humaneval", "openai_humaneval", 50.0)
    assert (entry.date, entry.source_url, entry.verify_token) == ("2027-01-15T08:01:00+00:00", None, None)
    assert entry.notes == (
        "pass@1 in percent, 95 % CI 42.4 to 57.6, 164 answers to 164 tasks, chat prompts, judged by Swarmeval 0.1.0"
    )


def test_a_part_of_a_benchmark_is_not_a_result_for_the_hub(mixed: ExportedRun, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": the run is partial; a result in a model's repository is one of the whole"):
        hf_eval_results.write(mixed, tmp_path)
    assert not list(tmp_path.iterdir())
