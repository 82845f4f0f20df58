"""Runs of a model that thinks, by the built-in engine and through a real server of ours: both give the same answers."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support import tiny_model
from tests.support.checkout import ROOT
from tests.support.command_line import agent_results, swarmeval

pytestmark = pytest.mark.slow

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if think %}<think>\n{% endif %}{% endif %}"
)
BUDGET = 12
SETTINGS = (
    "load_in_4bit=false", "max_new_tokens=40", "do_sample=false", "repetition_penalty=1.0",
    "chat_template_kwargs={think: true}",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thinker")
    tiny_model.model(context_tokens=4096).save_pretrained(folder)
    tokenizer = tiny_model.tokenizer(TEMPLATE)
    tokenizer.model_max_length = 4096
    tokenizer.save_pretrained(folder)
    return folder


def run(folder: Path, *settings: str) -> list[dict[str, Any]]:
    """The completions in the journal of a run."""
    code, out, err = swarmeval(
        "--config", "config/smoke.yaml", "--num_tasks", "2", "--num_agents", "1", "--output_dir", str(folder),
        "--set", *settings,
    )  # fmt: skip
    assert code == 0, out + err
    entries = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return sorted((e["completion"] for e in entries if "completion" in e), key=lambda made: str(made["job_id"]))


@contextmanager
def served(model: Path) -> Iterator[str]:
    """The address of a server of this model."""
    words = ["serve", "--config", "config/smoke.yaml", "--set", f"model_id={model}", "serve.port=0", *SETTINGS]
    with subprocess.Popen(
        [sys.executable, "main.py", *words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if ready := re.match(r"ready: (http://\S+/v1)", line):
                    yield ready[1]
                    return
            raise AssertionError("the server did not start")
        finally:
            process.kill()


def test_both_fleets_end_thoughts_at_their_budget_and_keep_them_apart(model: Path, tmp_path: Path) -> None:
    limits = f"thinking.budget_tokens={BUDGET}", "budget_prefixes=true"
    local = run(tmp_path / "local", f"model_id={model}", *SETTINGS, *limits)
    for made in local:
        assert made["reasoning"]
        assert made["reasoning_tokens"] == BUDGET + len("</think>")
        assert "</think>" not in made["reasoning"] + made["text"]
    with served(model) as url:
        where = ("fleet=endpoint", f"endpoint.urls=[{url}]", "cpu_workers=1")
        remote = run(tmp_path / "remote", f"model_id={model}", *SETTINGS, *limits, *where)
        messages: Any = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Sure: "}]
        extra = {"continue_final_message": True, "add_generation_prompt": False}
        with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
            filled = client.chat.completions.create(model=str(model), messages=messages, extra_body=extra)
            with pytest.raises(openai.BadRequestError) as refused:
                client.chat.completions.create(model=str(model), messages=messages[:1], extra_body=extra)
    same = ("job_id", "text", "reasoning", "reasoning_tokens", "output_tokens", "finish_reason")
    assert [[made[key] for key in same] for made in remote] == [[made[key] for key in same] for made in local]
    for ours, theirs in zip(local, remote, strict=True):  # a server's piece waits until its characters are whole
        assert theirs["marks"]
        assert all(tuple(mark) <= tuple(whole) for whole, mark in zip(ours["marks"], theirs["marks"], strict=False))
    assert filled.choices[0].message.content
    assert not hasattr(filled.choices[0].message, "reasoning_content")  # the prefill left no thought open
    assert "continue_final_message needs a last message by the assistant" in str(refused.value)


def test_a_thought_that_is_cut_is_empty_and_says_so(model: Path, tmp_path: Path) -> None:
    made = run(tmp_path, f"model_id={model}", *SETTINGS)
    assert {(one["text"], one["reasoning_tokens"], one["finish_reason"]) for one in made} == {("", 40, "length")}
    verdicts = [json.loads(line).get("verdict") for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    found = {(verdict["outcome"], verdict["detail"]) for verdict in verdicts if verdict}
    assert found == {("EMPTY", "truncated while thinking")}


def test_an_argument_that_the_template_does_not_use_ends_the_run_at_once(model: Path, tmp_path: Path) -> None:
    code, out, err = swarmeval(
        "--config", "config/smoke.yaml", "--num_tasks", "1", "--output_dir", str(tmp_path),
        "--set", f"model_id={model}", *SETTINGS[:-1], "chat_template_kwargs={thinks: true}",
    )  # fmt: skip
    assert code == 2
    assert "chat_template_kwargs.thinks: the chat template does not use it; remove or correct it" in out + err


def test_a_prefill_begins_every_reply(model: Path, tmp_path: Path) -> None:
    settings = (*SETTINGS[:-1], "assistant_prefill='Sure: '")
    run(tmp_path, f"model_id={model}", *settings)
    replies = [line["reply"] for line in agent_results(tmp_path, 0)]
    assert [reply[:6] for reply in replies] == ["Sure: "] * 2
    assert all(reply[6:] for reply in replies)


def test_a_prefill_can_begin_the_thought_of_every_reply(model: Path, tmp_path: Path) -> None:
    settings = (*SETTINGS[:-1], "assistant_prefill='<think>Okay'", f"thinking.budget_tokens={BUDGET}")
    for made in run(tmp_path, f"model_id={model}", *settings):
        assert made["reasoning"].startswith("Okay")
        assert made["reasoning_tokens"] == BUDGET + len("</think>")
        assert "think>" not in made["reasoning"] + made["text"]
