"""Checks whether the model suits its tasks and this machine, and estimates the duration of the run."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict
from pathlib import Path

import psutil

import model_loader
from gpu_monitor import GpuSettings
from swarmeval.device_sample import DeviceSample
from swarmeval.doctor.finding import Finding
from swarmeval.doctor.machine import gb
from swarmeval.doctor.model_facts import ModelCard, ProbeRequest
from swarmeval.errors import UserError
from swarmeval.location import environment
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.weight_rules import weight_format
from swarmeval.tasks.catalog import chosen
from swarmeval.weight_formats import QUANTIZED_HERE

LOOK_LIMIT_S = 60.0
CONVERT_LIMIT_S = 1800.0  # of a GGUF file that is converted first
TRIAL_LIMIT_S = 40.0
TRIAL_BYTES = 2e9  # weights up to this size load on a CPU within seconds
TRIAL_TASKS, TRIAL_TOKENS = 2, 24
SHARE = 0.9  # share of a GPU's free memory that weights may take


def reading(config: RunConfig, gpus: Sequence[DeviceSample], background: Executor) -> Future[ModelCard] | None:
    """Start reading the model card in the background, which takes seconds; None if no card is needed."""
    needs_card = config.fleet != "endpoint" and config.engine != "scripted"
    return background.submit(probe, config, gpus) if needs_card else None


def findings(
    config: RunConfig,
    card_read: Future[ModelCard] | None,
    gpus: Sequence[DeviceSample],
    settings: Sequence[GpuSettings],
) -> Iterator[Finding]:
    """Yield findings as they are made; `card_read` is the result of `reading`."""
    try:
        plan = Plan(make_agents(config), chosen(config).tasks)
    except UserError as error:
        yield Finding("tasks", "UNFIT", str(error))
        return
    yield Finding("tasks", "ok", f"{len(plan.tasks)}, {len(plan.agents)} agents, {plan.total:,} jobs")
    if config.fleet == "endpoint":
        return  # memory and prompts are checked by the server
    if card_read is None:
        yield Finding("model", "ok", "none: the engine is scripted")
        return
    try:
        card = card_read.result()
    except UserError as error:
        yield Finding("model", "UNFIT", str(error))
        return
    yield prompts(config, card)
    yield tokens(card)
    yield memory(config, card, gpus)
    if config.fleet == "vllm":
        yield Finding("duration", "note", "not estimated: vLLM takes minutes to start")
    elif config.device == "cpu" and 0 < card.weight_bytes < TRIAL_BYTES:
        yield trial(config, plan, card)
    elif config.device == "cuda":
        yield bound(config, plan, card, settings)
    else:
        yield Finding("duration", "note", "not estimated: a model of this size is too slow for a quick trial on a CPU")


def probe(config: RunConfig, gpus: Sequence[DeviceSample] = ()) -> ModelCard:
    """Read the model's files, and tokenize the run's prompts. Raises UserError."""
    plan = Plan(make_agents(config), chosen(config).tasks)
    form = weight_format(config)
    folder = model_loader.locate(
        config.model_id, progress=False, with_weights=False, code=config.trust_remote_code, weights=form,
        by_vllm=config.fleet == "vllm", revision=config.model_revision,
    )  # fmt: skip
    first = [make_request(plan, k, "chat", config) for k in first_jobs(plan)]
    raw = [make_request(plan, k, "completion", config) for k in first_jobs(plan)]
    cached = config.replica.weight_cache == "on" or (config.device == "cpu" and config.replica.weight_cache == "auto")
    probe_request = ProbeRequest(
        folder=folder, mode=config.prompt_mode,
        chats=[[{"role": m.role, "content": m.content} for m in request.messages] for request in first],
        texts=[(request.text or "", request.suffix) for request in raw],
        device=config.device, weights="auto" if cached and form in QUANTIZED_HERE else form,
        rows=None if config.replica.rows == "auto" else config.replica.rows, max_new_tokens=config.max_new_tokens,
        share=config.cpu_workers if config.device == "cpu" else 1, trust_remote_code=config.trust_remote_code,
        free_bytes=gpu_room(config, gpus) if config.device == "cuda" else None,
    )  # fmt: skip
    limit_s = CONVERT_LIMIT_S if form == "gguf" else LOOK_LIMIT_S
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "swarmeval.doctor.model_probe"],
            input=json.dumps(asdict(probe_request)), env=environment(os.environ), text=True, capture_output=True,
            check=False, timeout=limit_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(f"{config.model_id}: reading the tokenizer took longer than {limit_s:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{config.model_id}: the tokenizer cannot be read: {last}")
    output = json.loads(done.stdout)
    if "fault" in output:
        raise UserError(output["fault"])
    return ModelCard(**output)


def first_jobs(plan: Plan) -> range:
    """The first job of each task."""
    return range(0, plan.total, plan.total // len(plan.tasks))


def prompts(config: RunConfig, card: ModelCard) -> Finding:
    if card.template_fault:
        return Finding("prompts", "UNFIT", card.template_fault)
    needed = card.longest_prompt + config.max_new_tokens
    sizes = f"{card.mode}; longest {card.longest_prompt} tokens + {config.max_new_tokens} of {card.context_tokens}"
    if needed > card.context_tokens:
        return Finding(
            "prompts", "UNFIT", sizes, f"max_new_tokens: {max(1, card.context_tokens - card.longest_prompt)}"
        )
    return Finding("prompts", "ok", sizes)


def tokens(card: ModelCard) -> Finding:
    """Check for duplicated or missing special tokens."""
    if card.bos is not None and card.begins[:2] == [card.bos, card.bos]:
        fault = f"prompts begin with {card.bos} twice, because both template and tokenizer add it"
        return Finding("tokens", "UNFIT", fault, "remove it from the model's chat template")
    if not card.ends:
        return Finding("tokens", "note", "no end-of-text token: every answer runs to max_new_tokens", "set stop")
    sentence = f"prompts begin with {' '.join(card.begins)}, answers end with {' or '.join(card.ends)}"
    return Finding("tokens", "ok", sentence + ("" if card.pad else "; no pad token (not needed)"))


def memory(config: RunConfig, card: ModelCard, gpus: Sequence[DeviceSample]) -> Finding:
    """Compare the memory that the weights need with free memory."""
    if config.device == "cpu":
        available = psutil.virtual_memory().available
        sizes = f"{card.needs}; {gb(available)} free"
        if card.weight_bytes * config.cpu_workers > available:
            return Finding("memory", "UNFIT", sizes, "use a smaller model, or cpu_workers: 1")
        return Finding("memory", "ok", sizes)
    if not card.weight_bytes:
        return Finding("memory", "note", "not checked: the weights are not cached yet; the run will download them")
    room = gpu_room(config, gpus)
    if room is None:
        return Finding("memory", "note", "not checked: no GPU reports its free memory")
    free = SHARE * room
    sizes = f"weights of about {gb(card.weight_bytes)}; {gb(free)} of GPU memory available"
    if card.weight_bytes > free:
        smaller = "replica.weight_cache: auto" if config.replica.weight_cache == "on" else "weights: nf4"
        if weight_format(config) in ("nf4", "checkpoint", "gguf") and config.replica.weight_cache != "on":
            smaller = "use a smaller model"
        return Finding("memory", "UNFIT", sizes, f"{smaller}, use_data_parallelism: false, or free the GPU")
    return Finding("memory", "ok", sizes)


def gpu_room(config: RunConfig, gpus: Sequence[DeviceSample]) -> int | None:
    """Free memory of the fullest GPU, or of all if one replica is sharded over them; None if no GPU reports it."""
    frees = [int(1048576 * (gpu.memory_total_mb - gpu.memory_used_mb)) for gpu in gpus
             if gpu.memory_total_mb is not None and gpu.memory_used_mb is not None]  # fmt: skip
    return (min if config.use_data_parallelism else sum)(frees) if frees else None


def trial(config: RunConfig, plan: Plan, card: ModelCard) -> Finding:
    """Run a small evaluation, to see whether it works and how fast it is."""
    agents = max(1, min(plan.total, card.rows) // TRIAL_TASKS)
    settings = {"max_new_tokens": TRIAL_TOKENS, "wandb.mode": "off", "eval_timeout_scale": 1.0}
    inherited = (
        "model_id",
        "device",
        "cpu_workers",
        "replica.weight_cache",
        "replica.native_kernels",
        "replica.share_answers",
        "replica.double_quantization",
        "replica.quantization_block",
        "load_in_4bit" if config.weights is None else "weights",
        "replica.rows",
        "sandbox.mode",
        "trust_remote_code",
        "model_revision",
    )
    settings |= {key: config.at(key) for key in inherited}
    words = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    with tempfile.TemporaryDirectory(prefix="swarmeval-doctor-") as folder:
        config_file = Path(folder, "trial.yaml")
        config_file.write_text("repetition_penalty: 1.0\n", encoding="utf-8")
        command = [sys.executable, "-P", "-m", "swarmeval.cli", "--config", str(config_file), "--output_dir", folder]
        command += ["--num_tasks", str(TRIAL_TASKS), "--num_agents", str(agents), "--set", *words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TRIAL_LIMIT_S, check=False,
                env=environment({**os.environ, "WANDB_MODE": "disabled"}),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Finding("duration", "note", f"not estimated: a small run took longer than {TRIAL_LIMIT_S:.0f} s")
        score = Path(folder, "score.json")
        if done.returncode or not score.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return Finding("trial", "UNFIT", f"a small run failed with exit code {done.returncode}: {last}")
        speed = json.loads(score.read_text(encoding="utf-8"))["tokens_per_s"]
    most_s = plan.total * config.max_new_tokens / speed
    small = f"a run of {TRIAL_TASKS * agents} short answers reached {speed:.0f} tokens/s"
    return Finding("duration", "ok", f"{small}; {plan.total:,} jobs take at most {span(most_s)}")


def bound(config: RunConfig, plan: Plan, card: ModelCard, settings: Sequence[GpuSettings]) -> Finding:
    """Lower bound on the duration: the weights are read once per token and set of rows."""
    speeds = [gpu.bandwidth_gb_s for gpu in settings if gpu.bandwidth_gb_s]
    if not speeds or not card.weight_bytes:
        return Finding("duration", "note", "not estimated: size of the weights or memory bandwidth unknown")
    sets = plan.total / (card.rows * (len(speeds) if config.use_data_parallelism else 1))
    seconds = sets * config.max_new_tokens * card.weight_bytes / (min(speeds) * 1e9)
    estimate = f"answers of {config.max_new_tokens} tokens take at least {span(seconds)}, limited by memory bandwidth"
    return Finding("duration", "ok", estimate)


def span(seconds: float) -> str:
    """A duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
