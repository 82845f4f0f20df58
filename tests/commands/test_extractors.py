"""Other harnesses' rules behave as their projects publish, and are compared with ours on the same replies."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from human_eval_runner import canonical_solutions, load_tasks
from swarmeval.errors import ConfigError, OutputError
from swarmeval.extraction import harness_rules
from swarmeval.records import Outcome, Suite, Task
from swarmeval.scores.other_harnesses import OtherVerdicts, key_of
from tests.support.checkout import ROOT
from tests.support.pages import visible_text

TASK = Task("T/0", "def f(x):\n", Suite("f", ""))
FENCED = "Sure:\n```python\ndef f(x: int) -> int:\n    y = x\n    return y\n```\nDone."


@pytest.mark.parametrize(
    ("rule", "reply", "wanted"),
    [
        ("human-eval", FENCED, FENCED),
        ("bigcode", "    return x\n# more\ny", "    return x"),
        ("bigcode", "    return x\n@cache\ndef g(): 1", "    return x"),
        ("bigcode", FENCED, "Sure:"),
        ("lm-eval", "    return x\n@cache\ndef g(): 1", "    return x\n@cache"),
        ("lm-eval-instruct", "    return x\n```\nThat was it.", "    return x\n"),
        ("lm-eval-instruct", FENCED, "Sure:\n"),
        ("lm-eval-instruct", "    return x\n# so it is\n```", "    return x"),  # it inherits the stop words
        ("simple-evals", FENCED, "    y = x\n    return y\n"),
        ("simple-evals", "```\ndef f(x):\n    return x\n```", "    return x\n```"),
        ("simple-evals", "    return x", "   return x"),  # its find() returns -1, so it cuts at 1
        ("inspect-evals", "    return x", "    return x"),  # no fence: nothing is cut
        ("inspect-evals", "```\nb:\n    1\n```\nSo: ```Py\r\ndef f(x):\r\n    return x```\n", "    return x"),
        ("inspect-evals", "```python\n\n```\n```js\ny\n```\n```\nz:\n    never closed", None),
        ("inspect-evals", "Text:\n    quoted\n```\ndef f(x):\n    return x\n```", "    return x\n"),
        ("livecodebench", "```python\nx = 1\n```\nor\n    ```py\ny = 2\n```\nDone.", "y = 2"),
        (
            "livecodebench",
            "```python\nx = 1\n```\nFor 3 the output is\n```\n4\n```",
            "4",
        ),  # the last block, whatever it is
        ("livecodebench", "x = 1\n```", ""),
    ],
)
def test_a_rule_makes_of_a_reply_what_its_project_would(rule: str, reply: str, wanted: str | None) -> None:
    assert harness_rules.RULES[rule](reply, TASK) == (reply if wanted is None else wanted)


NAMES = "human-eval, bigcode, lm-eval, lm-eval-instruct, simple-evals, inspect-evals, livecodebench"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("lm-eval,bigcod", f"--extractors: unknown rule 'bigcod'; use all, ours, or some of {NAMES}, evalplus"),
        ("", f"--extractors: unknown rule ''; use all, ours, or some of {NAMES}, evalplus"),
        ("all,bigcode", f"--extractors: unknown rule 'all'; use all, ours, or some of {NAMES}, evalplus"),
    ],
)
def test_an_unknown_rule_is_refused_with_the_existing_names(asked: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}$"):
        harness_rules.rules(asked)


def test_rules_are_taken_by_name_and_ours_is_always_there() -> None:
    assert list(harness_rules.rules("simple-evals,ours,bigcode")) == ["simple-evals", "bigcode"]
    assert harness_rules.rules("ours") == {}
    assert list(harness_rules.rules("all"))[:7] == NAMES.split(", ")


IMPORTS = """
from swarmeval.errors import ConfigError
from swarmeval.extraction import harness_rules
from swarmeval.records import Suite, Task
TASK = Task("T/0", "def f(x):\\n", Suite("f", ""))
"""


def with_package(folder: Path, sanitize: str, program: str) -> str:
    """The output of a program run with a fake evalplus package that has this sanitize.py."""
    package = folder / "evalplus"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sanitize.py").write_text(sanitize)
    command = [sys.executable, "-c", f"{IMPORTS}\n{program}"]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_evalplus_gets_reply_and_entry_point_and_is_judged_without_prompt(tmp_path: Path) -> None:
    sanitize = (
        "def sanitize(code, entrypoint=None): return f'{entrypoint} = lambda x: ({code!r}, x, sorted(globals()))'"
    )
    program = (
        "names = {'given_by_the_prompt': 1}\n"
        "exec(harness_rules.rules('evalplus')['evalplus']('a reply', TASK), names)\n"
        "print(names['f'](3))"
    )
    assert with_package(tmp_path, sanitize, program) == "('a reply', 3, ['__builtins__', 'f'])\n"


@pytest.mark.slow
def test_what_stops_evalplus_makes_no_program_and_all_includes_evalplus(tmp_path: Path) -> None:
    sanitize = "def sanitize(code, entrypoint=None): raise ValueError('null bytes')"
    program = "print(list(harness_rules.rules('all'))[-1], [harness_rules.rules('all')['evalplus']('', TASK)])"
    assert with_package(tmp_path, sanitize, program) == "evalplus ['']\n"


@pytest.mark.slow
def test_evalplus_that_cannot_be_imported_is_refused_with_the_remedy(tmp_path: Path) -> None:
    program = "try: harness_rules.rules('all')\nexcept ConfigError as error: print(error)"
    assert with_package(tmp_path, "import no_such_module", program) == (
        "--extractors: evalplus cannot be imported (No module named 'no_such_module'); run: pip install evalplus; "
        f"or use {NAMES}\n"
    )


@pytest.mark.skipif(importlib.util.find_spec("evalplus") is None, reason="evalplus is not installed")
@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        (FENCED, "def f(x: int) -> int:\n    y = x\n    return y"),
        (
            "import re\n\ndef unused():\n    return 1\n\nprint(2)\ndef f(x):\n    return x",
            "import re\ndef f(x):\n    return x",
        ),
        ("I cannot.", "I cannot."),
    ],
)
def test_the_real_evalplus_gives_what_it_gave_when_the_rule_was_written(reply: str, wanted: str) -> None:
    assert harness_rules.rules("evalplus")["evalplus"](reply, TASK) == harness_rules.in_own_namespace(wanted, "f")


def command(replies: list[dict[str, str]], folder: Path, under: str) -> list[str]:
    path = folder / "replies.jsonl"
    path.write_text("".join(json.dumps(reply) + "\n" for reply in replies))
    words = ["score", str(path), "--extractors", under, "--output_dir", str(folder / "out"), "--eval_workers", "2"]
    return [sys.executable, "main.py", *words, "--set", "eval_timeout_scale=1.0"]


def score(replies: list[dict[str, str]], folder: Path, under: str = "all") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(replies, folder, under), cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_same_replies_are_judged_under_every_rule(tmp_path: Path) -> None:
    tasks, solutions = load_tasks(3), canonical_solutions()
    bodies = [solutions[task.task_id] for task in tasks]
    replies = [
        {"task_id": tasks[0].task_id, "reply": bodies[0]},
        {"task_id": tasks[1].task_id, "reply": f"Sure!\n```python\n{tasks[1].prompt}{bodies[1]}```\nDone."},
        {"task_id": tasks[2].task_id, "reply": "I cannot."},
    ]
    done = score(replies, tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out" / "extractors.json").read_text())
    passes = {name: {job.split("/")[2] for job in rule["passed"]} for name, rule in content.items()}
    assert passes.pop("ours") == {"0", "1"}
    assert passes["human-eval"] == passes["bigcode"] == passes["lm-eval-instruct"] == {"0"}
    assert "1" in passes["simple-evals"] & passes["inspect-evals"]
    assert content["ours"]["pass@1"] == 2 / 3
    assert "human-eval                     33.3 %       1\n    loses 1: HumanEval/1\n" in done.stdout
    assert "human-eval 1 of 3 33.3 %" in visible_text((tmp_path / "out" / "report.html").read_text())


@pytest.mark.slow
def test_code_that_was_extracted_already_is_refused(tmp_path: Path) -> None:
    done = score([{"task_id": "HumanEval/0", "completion": "    return True"}], tmp_path)
    why = "the file contains no raw reply; completions and solutions need no extraction"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"swarmeval: --extractors: {why}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_unknown_rule_is_refused_before_anything_is_judged(tmp_path: Path) -> None:
    done = score([{"task_id": "HumanEval/0", "reply": "    return True"}], tmp_path, "bigcode,other")
    told = f"swarmeval: --extractors: unknown rule 'other'; use all, ours, or some of {NAMES}, evalplus\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_that_was_interrupted_goes_on_with_what_it_knows(tmp_path: Path, number: signal.Signals) -> None:
    replies = [{"task_id": "HumanEval/0", "reply": f"    import time; time.sleep(0.1); {n}\n"} for n in range(12)]
    kept = tmp_path / "out" / "extractors.jsonl"
    with subprocess.Popen(command(replies, tmp_path, "human-eval"), cwd=ROOT, stderr=subprocess.PIPE) as process:
        while not kept.exists() or kept.read_bytes().count(b"\n") < 2:
            time.sleep(0.005)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -9)
    before, journal = kept.read_bytes(), (tmp_path / "out" / "journal.jsonl").read_bytes()
    done = score(replies, tmp_path, "human-eval")
    assert done.returncode == 0, done.stderr
    assert kept.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    lines = kept.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 12
    assert (tmp_path / "out" / "journal.jsonl").read_bytes().startswith(journal)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["finished"]


def test_other_verdicts_are_read_back_a_torn_last_line_aside(tmp_path: Path) -> None:
    one, two = key_of("T/0", "    return 1"), key_of("T/0", "    return 2")
    with OtherVerdicts(tmp_path) as known:
        known.add(one, Outcome.PASSED)
    with (tmp_path / "extractors.jsonl").open("a") as file:
        file.write('{"program": "to')
    with OtherVerdicts(tmp_path) as known:
        assert (one in known, known[one], two in known) == (True, Outcome.PASSED, False)
        known.add(two, Outcome.RAISED)
    with OtherVerdicts(tmp_path) as known:
        assert (known[one], known[two]) == (Outcome.PASSED, Outcome.RAISED)


def test_a_line_that_is_not_a_verdict_is_reported_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "extractors.jsonl").write_text('{"program": "x", "outcome": "FINE"}\n')
    why = "contains an invalid verdict ('FINE' is not a valid Outcome); move the file away"
    told = f"{tmp_path / 'extractors.jsonl'}: {why}"
    with pytest.raises(OutputError, match=f"^{re.escape(told)}$"):
        OtherVerdicts(tmp_path)
