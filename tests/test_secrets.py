"""No key, token or password reaches a file, the screen or Weights & Biases, whatever its source."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval import secrets
from swarmeval.errors import ConfigError, WorkerDied
from swarmeval.runs.folder import write_manifest
from swarmeval.session.run_record import made_with
from swarmeval.settings.loading import load, parse_set, validate
from tests.support import tiny_model
from tests.support.checkout import ROOT
from tests.support.command_line import SMOKE, swarmeval
from tests.support.registered_secrets import forgotten_after

# Every file that a run leaves is searched for each of them.
PLANTED = {
    "HF_TOKEN": "hf_planted0token",
    "OPENAI_API_KEY": 'sk-planted"with\\quotes',
    "MY_DATABASE_PASSWORD": "planted0password",
    "DEPLOY_SECRET": "planted0first0line\nplanted0second0line",
    "AWS_ACCESS_KEY_ID": "PLANTED0ACCESS0KEY",
    "HTTPS_PROXY": "http://me:planted%40proxy@127.0.0.1:9",
}
SET_KEY = "0planted0" * 4 + "abcd"  # as long as a W&B key
TRACES = ("planted", "PLANTED")


@pytest.fixture
def told() -> Iterator[None]:
    """Forget the secrets registered by the test."""
    with forgotten_after():
        yield


def held(folder: Path, *texts: str) -> list[str]:
    """The places that leak a planted secret: files of a folder, or "said" for the texts."""
    found = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file() and leaks(path)]
    return found + ["said" for text in texts if any(trace in text for trace in TRACES)]


def leaks(path: Path) -> bool:
    data = path.read_bytes()
    return any(trace.encode() in data for trace in TRACES)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("HF_TOKEN", True), ("OPENAI_API_KEY", True), ("wandb_api_key", True), ("GITHUB_TOKEN", True),
        ("DB_PASSWORD", True), ("PGPASSWD", True), ("API_KEYS", True), ("AWS_ACCESS_KEY_ID", True),
        ("TOKENIZERS_PARALLELISM", False), ("max_new_tokens", False), ("KEYBOARD", False), ("HF_TOKEN_PATH", False),
        ("WANDB_IDENTITY_TOKEN_FILE", False), ("PATH", False),
    ],
)  # fmt: skip
def test_a_name_says_whether_what_it_holds_is_secret(name: str, is_one: bool) -> None:
    assert secrets.named(name) is is_one


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("cannot reach https://me:word@host/x", "cannot reach https://***@host/x"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("https://host/x?page=1&token=abc&n=2", "https://host/x?page=1&token=***&n=2"),
        ("unrecognized arguments: --wandb_api_key abc", "unrecognized arguments: --wandb_api_key ***"),
        ("main.py --set wandb.api_key=abc seed=1", "main.py --set wandb.api_key=*** seed=1"),
        ("main.py --set wandb_api_key=abc seed=1", "main.py --set wandb_api_key=*** seed=1"),
        ("{'api_key': 'abc', 'n': 1}", "{'api_key': '***', 'n': 1}"),
        ("could not log in: password=abc", "could not log in: password=***"),
        ("--set wandb_api_key: given twice; keep one of them", "--set wandb_api_key: given twice; keep one of them"),
        ("eos_token: </s>, max_new_tokens=12", "eos_token: </s>, max_new_tokens=12"),
        ("HumanEval/0 https://host/a@b", "HumanEval/0 https://host/a@b"),
    ],
)
def test_texts_from_elsewhere_lose_what_looks_like_a_secret(text: str, clean: str) -> None:
    assert secrets.scrub(text) == clean


@given(before=st.text(max_size=20), secret=st.text(min_size=8, max_size=40), after=st.text(max_size=20))
def test_a_registered_secret_is_hidden_in_every_spelling(before: str, secret: str, after: str) -> None:
    for line in secret.splitlines() or [""]:
        if len(line.strip()) < secrets.SHORTEST:
            return
    with forgotten_after():
        secrets.register(secret)
        for form in (secret, json.dumps(secret), repr(secret)):
            assert secret not in secrets.scrub(before + form + after)


def test_short_values_and_replies_of_other_names_stay(told: None) -> None:
    secrets.register("EMPTY")
    assert secrets.scrub("3 answers are EMPTY") == "3 answers are EMPTY"


def test_errors_and_the_manifest_are_scrubbed_whatever_they_carry(told: None, tmp_path: Path) -> None:
    secrets.register("planted0value")
    assert str(WorkerDied("cpu:0: worker died (planted0value)")) == "cpu:0: worker died (***)"
    facts: dict[str, Any] = {"config": {"api_key": "x", "tags": ["planted0value"]}, "wandb_api_key": None, "n": 1}
    write_manifest(tmp_path, facts)
    assert json.loads((tmp_path / "manifest.json").read_text()) == {
        "config": {"api_key": "***", "tags": ["***"]}, "wandb_api_key": None, "n": 1
    }  # fmt: skip


@pytest.mark.parametrize("text", ["12345678901", "[planted0value]", "true", "{a: planted0value}"])
def test_a_key_of_the_wrong_type_is_refused_without_being_repeated(told: None, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse_set([f"wandb.api_key={text}"]), "x.yaml", ["wandb.api_key"])
    assert str(caught.value) == "command line: wandb.api_key is ***; it should be a valid string"


@pytest.mark.parametrize("text", ["*planted0alias", "'planted0quote", "{planted0", "!planted0tag x"])
def test_a_key_that_yaml_cannot_read_is_not_repeated(told: None, tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_set([f"wandb.api_key={text}"])
    assert "planted" not in str(caught.value)
    path = tmp_path / "c.yaml"
    for lines in (f"wandb_api_key: {text}\n", f"wandb:\n  api_key: {text}\n", f"wandb: {{api_key: {text}\n"):
        path.write_text(lines)
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "wandb={api_key: planted0value, mode: on}", "wandb={api_key: planted0value, mode: [}",
        "wandb=[api_key: planted0value",
        "wandb={api_key: [planted0value]}", "wandb=planted0value", "wandb_api_key=planted0value",
        "wandb={api_key: planted0value, entity: [planted0value]}", "wandb=api_key:planted0value",
    ],
)  # fmt: skip
def test_a_key_in_a_section_is_refused_without_being_repeated(told: None, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse_set([word]), "x.yaml", ["wandb"])
    assert "planted" not in str(caught.value)


def test_a_key_in_a_section_is_kept_out_of_all_texts(told: None) -> None:
    config = validate(parse_set(["wandb={api_key: planted0value}"]), "x.yaml")
    assert "planted" not in repr(config)
    assert "planted" not in json.dumps(made_with(config))
    assert secrets.scrub("it was planted0value") == "it was ***"


def test_a_word_without_its_equals_sign_keeps_the_key(told: None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_set(["wandb_api_key:planted0value"])
    assert str(caught.value) == "--set: 'wandb_api_key***' does not have the form key=value"


@pytest.mark.slow
def test_our_tracebacks_and_library_output_are_scrubbed_on_the_screen() -> None:
    program = (
        "import logging, os, sys, warnings; from swarmeval import secrets; secrets.guard()\n"
        "print(os.environ['HF_TOKEN'], file=sys.stderr); warnings.warn(os.environ['OPENAI_API_KEY'])\n"
        "logging.getLogger('any').error('%s', dict(os.environ))\n"
        'raise RuntimeError(f\'cannot reach {os.environ["HTTPS_PROXY"]} with {os.environ["DEPLOY_SECRET"]}\')'
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | PLANTED, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "RuntimeError: cannot reach http://***@127.0.0.1:9" in done.stderr
    assert [line for line in done.stderr.splitlines() if any(trace in line for trace in TRACES)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--set", f"wandb.api_key={SET_KEY}", "wandb.mode=online", "trace=true"],
        ["--set", f"wandb.api_key={SET_KEY}", "wandb.mode=offline", "verbose=true", "audit.jobs=1"],
    ],
)
def test_a_run_leaves_no_secret_in_any_file_nor_on_the_screen(tmp_path: Path, words: list[str]) -> None:
    server = "http://me:planted0server@127.0.0.1:9"  # no server there: wandb reports that at length
    env = PLANTED | {"WANDB_BASE_URL": server, "WANDB_INIT_TIMEOUT": "2", "HF_ENDPOINT": server}
    code, out, err = swarmeval(*SMOKE, "--num_tasks", "2", "--output_dir", str(tmp_path / "run"), *words, env=env)
    assert code == 0, err
    assert (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "wandb").exists()
    assert held(tmp_path, out, err) == []


@pytest.mark.slow
def test_what_is_refused_on_the_command_line_is_not_repeated(tmp_path: Path) -> None:
    server = "http://me:planted0server@127.0.0.1:9"
    for words in (
        [f"--wandb_api_key={SET_KEY}"],
        ["--wandb_api_key", SET_KEY],
        ["--set", f"wandb.api_key={SET_KEY}", "seed=x"],
        ["--set", f"wandb.api_key=[{SET_KEY}]"],
        ["--config", "config/smoke.yaml", "--set", f"wandb.api_key={SET_KEY}", "model_id=me/none"],
        ["--config", "config/smoke.yaml", "--set", "model_id=https://me:planted0word@host/x"],
    ):
        code, out, err = swarmeval(*words, "--output_dir", str(tmp_path), env=PLANTED | {"HF_ENDPOINT": server})
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert held(tmp_path, out, err) == []


TELLTALE = """
import os, sys, warnings
from transformers import LlamaConfig, LlamaForCausalLM
print(dict(os.environ)); print(dict(os.environ), file=sys.stderr); os.system("printenv HF_TOKEN OPENAI_API_KEY")

class Telltale(LlamaForCausalLM):
    def __init__(self, *args, **kwargs):
        raise {error}(" ".join("x" * (250 - n) + value for n, value in enumerate(os.environ.values())))
"""


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ValueError", "AttributeError"])
def test_what_a_models_own_code_says_of_its_environment_is_scrubbed(tmp_path: Path, error: str) -> None:
    model, folder = tiny_model.save(tmp_path / "model"), tmp_path / "run"
    (model / "telltale.py").write_text(TELLTALE.format(error=error))
    config = json.loads((model / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForCausalLM": "telltale.Telltale"}}
    (model / "config.json").write_text(json.dumps(config))
    words = ["--config", "config/smoke.yaml", "--num_tasks", "1", "--output_dir", str(folder), "--set"]
    env = PLANTED | {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    words += [f"model_id={model}", "trust_remote_code=true", "workers.max_attempts=1", "load_in_4bit=false"]
    words += ["eval_timeout_scale=1"]
    code, out, err = swarmeval(*words, env=env)
    assert code == 2, err
    assert "***" in (folder / "run.log").read_text()
    assert held(folder, out, err) == []
