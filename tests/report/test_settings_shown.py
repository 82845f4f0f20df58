"""A report lists the settings that had an effect on a run, and no unused defaults."""

import json
from pathlib import Path
from typing import Any

import pytest

from swarmeval.report.settings_shown import judging, settings
from swarmeval.runs.folder import read_manifest
from swarmeval.settings.run_config import RunConfig

REPLIES = {"path": "made/40.jsonl", "sha256": "0", "lines": 1040}
JUDGED = {
    "eval_timeout_scale": 1.5, "sandbox": "userns, landlock 7", "sandbox_missing": {"seccomp": "the kernel has none"},
    "versions": {"swarmeval": "0.1.0"},
}  # fmt: skip


def manifest(**changed: object) -> dict[str, Any]:
    values = {"model_id": "example/model", **changed}
    return {"config": RunConfig.model_validate(values).model_dump(mode="json"), **JUDGED}


def test_of_replies_made_elsewhere_the_file_and_the_judging_are_shown(tmp_path: Path) -> None:
    """Also if an earlier version wrote every default into the manifest."""
    written = {**manifest(), "run_id": "r", "sessions": [], "replies": REPLIES}
    (tmp_path / "manifest.json").write_text(json.dumps(written))
    read = read_manifest(tmp_path)
    assert read is not None
    assert settings(read) == [
        ("replies", "made/40.jsonl (1,040 lines)"),
        ("generation settings", "unknown (imported replies)"),
        ("time limit", "15 s (eval_timeout 10 s x 1.5)"),
        ("memory limit", "4,096 MB of address space"),
        ("sandbox", "userns, landlock 7"),
        ("sandbox layers missing", "seccomp: the kernel has none"),
        ("swarmeval", "0.1.0"),
    ]
    assert "max_new_tokens" not in read["config"]
    assert judging(read) == (
        "15 s (eval_timeout 10 s x 1.5) and 4,096 MB of address space per program; sandbox without seccomp"
    )


@pytest.mark.parametrize(
    ("changed", "absent"),
    [
        ({"do_sample": False}, {"temperature", "top_p", "top_k"}),
        ({"fleet": "endpoint", "endpoint": {"urls": ("http://a/v1",)}}, {"load_in_4bit", "batch_size"}),
        ({}, set()),
    ],
)
def test_settings_that_a_run_did_not_obey_are_not_shown(changed: dict[str, object], absent: set[str]) -> None:
    shown = {key for key, _ in settings(manifest(**changed))}
    every = {"temperature", "top_p", "top_k", "load_in_4bit", "batch_size", "max_new_tokens", "seed"}
    assert every - shown == absent


def test_settings_that_are_off_are_not_listed_and_others_are() -> None:
    off = dict(settings(manifest()))
    assert not {"min_p", "presence_penalty", "logit_bias", "system_prompt", "chat_template_kwargs"} & set(off)
    agents = [{"id": 0, "min_p": 0.1}, {"id": 1, "min_p": None}]
    on = dict(
        settings(
            {**manifest(max_new_tokens=4096, thinking={"budget_tokens": 2000}, logit_bias={7: -1.0}), "agents": agents}
        )
    )
    assert on["min_p"] == "0.1, 0.0 (agents differ)"
    assert on["logit_bias"] == "{'7': -1.0}"
    assert on["thinking budget"] == "2,000 tokens"


def test_agents_with_settings_of_their_own_are_not_passed_over() -> None:
    agents = [{"id": 0, "temperature": 0.8, "samples": 1}, {"id": 1, "temperature": None, "samples": 4}]
    shown = dict(settings({**manifest(temperature=0.2), "agents": agents}))
    assert (shown["temperature"], shown["num_samples"]) == ("0.8, 0.2 (agents differ)", "1, 4 (agents differ)")
    many = [{"id": number, "temperature": number / 10} for number in range(1, 9)]
    shown = dict(settings({**manifest(), "agents": many}))
    assert shown["temperature"] == "0.1, 0.2, 0.3, 0.4, 0.5, and 3 more (agents differ)"
