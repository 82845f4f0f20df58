"""Fidelity of the engine's replies and logits, against transformers' `generate` and an fp32 copy of the NF4 values.

    python benchmarks/fidelity.py [--tasks N] [--agents N] [--tokens N] [--rows N N] [--only abc] [--json F]

(a) Greedy replies, compared with `generate` on one prompt at a time in plain bf16. A difference is excused only as
rounding: at the first differing token, `generate`'s own logits of the two tokens must lie within one bf16 step. Any
other difference makes the exit code 1.
(b) Logits of our decode path over the tokens of `generate`, and logits of a plain bf16 forward, both compared with
fp32. Our error should not be larger.
(c) Sampled replies with the same seeds, repeated with other row counts, in another order, and on one thread: the share
that is identical, token for token. The rest differs by rounding, which depends on the batch around a row.

Prompts are chats as in a run, the agents of a task share its prompt, and there is no repetition penalty. `generate`
gives about 13 tokens/s on 2 cores, so (a) takes a quarter of an hour for 164 tasks x 64 tokens.
"""

import argparse
import copy
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import model_loader
from swarmeval.engine.quiet import quiet

quiet()  # first: torch and related packages print messages at import
import torch
from torch import Tensor

from benchmarks.comparing import Deviation, Ids, bf16_step, first_difference, ids_of, letters, same_share
from human_eval_runner import load_tasks
from swarmeval.engine.engine import Engine
from swarmeval.engine.weights.cpu_weights import threads
from swarmeval.errors import UserError
from swarmeval.requests import Reply, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import EMBEDDED, RunConfig
from swarmeval.workers.replica import load_engine
from swarmeval.workers.replica_spec import ReplicaSpec


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference between our greedy reply and that of `generate`. Gaps: logit of expected minus of found."""

    task_id: str
    replies: int  # number of the task's replies with this difference
    place: int  # index of the first differing token
    expected: str
    found: str
    gap_bf16: float | None  # in the logits of `generate`; None if one of the two ends here and has no end-of-text token
    gap_fp32: float | None  # negative: fp32 agrees with our token
    step: float  # bf16 step at that logit
    excused: bool


def answers(made: Engine, requests: Sequence[Request]) -> dict[str, Ids]:
    """The engine's reply to each job, including end-of-text tokens. Raises RuntimeError if a request is refused."""
    replies = {}
    end = made.tokenizer.eos_token_id
    made.forget_answers()
    with letters(made.tokenizer):
        for request in requests:
            made.submit(request)
        while made.busy():
            for answer in made.step():
                if not isinstance(answer, Reply):
                    raise RuntimeError(f"{answer.job_id} was refused: {answer.reason}")
                replies[answer.job_id] = ids_of(answer) + (end,) * (answer.finish_reason == "stop")
    return replies


class Reference:
    """The reference models: the NF4 values in plain linear layers of transformers, as bf16 and as fp32."""

    def __init__(self, folder: str, tokens: int) -> None:
        loaded = model_loader.load(folder, device="cpu", weights="nf4")
        self.tokenizer = loaded.tokenizer
        self.plain = loaded.model.dequantize()
        self.exact = copy.deepcopy(self.plain).float()
        self._tokens = tokens

    def prompt(self, request: Request) -> Ids:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        encoded = self.tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=True
        )
        return tuple(encoded["input_ids"])

    @torch.inference_mode()
    def generate(self, prompt: Ids) -> tuple[Ids, Tensor]:
        """The greedy reply, including its end-of-text token, and its logits [tokens, vocabulary]."""
        ids = torch.tensor([prompt])
        output = self.plain.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            repetition_penalty=1.0,
            max_new_tokens=self._tokens,
            pad_token_id=self.tokenizer.eos_token_id,
            output_logits=True,
            return_dict_in_generate=True,
        )
        return tuple(output.sequences[0, len(prompt) :].tolist()), torch.cat(output.logits)

    @torch.inference_mode()
    def logits(self, model: Any, prompt: Ids, reply: Ids) -> Tensor:
        """The logits for each token of the reply, from one forward: [tokens, vocabulary], fp32."""
        logits: Tensor = model(torch.tensor([prompt + reply[:-1]]), logits_to_keep=len(reply)).logits[0].float()
        return logits


def greedy(made: Engine, reference: Reference, plan: Plan, requests: Sequence[Request]) -> dict[str, Any]:
    """Measure (a). Prints each difference when it is found."""
    replies = answers(made, requests)
    agents = len(plan.agents)
    differences: list[Difference] = []
    for number, task in enumerate(plan.tasks):
        mates = requests[number * agents : (number + 1) * agents]
        prompt = reference.prompt(mates[0])
        expected, logits = reference.generate(prompt)
        for reply, count in Counter(replies[request.job_id] for request in mates).items():
            if reply != expected:
                differences.append(weighed(task.task_id, count, prompt, reply, expected, logits, reference))
                print(f"(a) {line(differences[-1])}", flush=True)
    differing = sum(difference.replies for difference in differences)
    excused = sum(difference.replies for difference in differences if difference.excused)
    return {
        "replies": plan.total,
        "equal": plan.total - differing,
        "excused": excused,
        "unexcused": differing - excused,
        "differences": [asdict(difference) for difference in differences],
    }


def weighed(
    task_id: str, replies: int, prompt: Ids, reply: Ids, expected: Ids, logits: Tensor, reference: Reference
) -> Difference:
    """Describe a reply's first difference and decide whether rounding excuses it. `logits`: [tokens, vocabulary]."""
    place = first_difference(reply, expected)
    assert place is not None
    if place in (len(reply), len(expected)):
        return Difference(task_id, replies, place, "continues", "ends", None, None, 0.0, excused=False)
    theirs, ours = expected[place], reply[place]
    exact = reference.logits(reference.exact, prompt, expected[: place + 1])[-1]
    gap, step = float(logits[place, theirs] - logits[place, ours]), bf16_step(float(logits[place, theirs]))
    return Difference(
        task_id=task_id,
        replies=replies,
        place=place,
        expected=reference.tokenizer.decode([theirs]),
        found=reference.tokenizer.decode([ours]),
        gap_bf16=gap,
        gap_fp32=float(exact[theirs] - exact[ours]),
        step=step,
        excused=gap <= step,
    )


def line(change: Difference) -> str:
    gaps = "" if change.gap_bf16 is None else f"gap {change.gap_bf16:.4g} in bf16, {change.gap_fp32:.4g} in fp32, "
    return (
        f"{change.task_id:13} x{change.replies} token {change.place:3} {change.expected!r:>12} -> {change.found!r:12} "
        f"{gaps}step {change.step:g}: {'excused' if change.excused else 'UNEXCUSED'}"
    )


@torch.inference_mode()
def forced(made: Engine, reference: Reference, prompts: Sequence[Ids], agents: int) -> dict[str, Any]:
    """Measure (b), with `agents` rows per prompt."""
    ours, plain = Deviation(), Deviation()
    at_once = max(1, made.info().rows // agents)
    for start in range(0, len(prompts), at_once):
        chunk = prompts[start : start + at_once]
        replies = [reference.generate(prompt)[0] for prompt in chunk]
        exact_logits = [reference.logits(reference.exact, *texts) for texts in zip(chunk, replies, strict=True)]
        for prompt, reply, exact in zip(chunk, replies, exact_logits, strict=True):
            plain.add(reference.logits(reference.plain, prompt, reply), exact)
        rows = [row for row in range(len(chunk)) for _ in range(agents)]
        for place, logits in enumerate(decoded(made, [chunk[row] for row in rows], [replies[row] for row in rows])):
            unfinished = [index for index, row in enumerate(rows) if place < len(replies[row])]
            ours.add(logits[unfinished], torch.stack([exact_logits[rows[index]][place] for index in unfinished]))
    return {"ours": ours.summary(), "plain": plain.summary()}


def decoded(made: Engine, prompts: Sequence[Ids], replies: Sequence[Ids]) -> Iterator[Tensor]:
    """Yield our logits for each token of the replies: [rows, vocabulary]. Short replies repeat their last token."""
    decoder = made.rows.decoder
    for prompt in prompts:
        decoder.join(prompt, max(map(len, replies)))
    yield decoder.prefill()
    for place in range(max(map(len, replies)) - 1):
        yield decoder.decode([reply[min(place, len(reply) - 1)] for reply in replies])
    for row in reversed(range(len(prompts))):
        decoder.evict(row)


def sampled(made: Engine, other: Engine, requests: Sequence[Request]) -> dict[str, float]:
    """Measure (c): for each variation, the share of replies equal to those of `made` in the original order."""
    first = answers(made, requests)
    backwards = list(reversed(requests))
    changes: dict[str, Callable[[], dict[str, Ids]]] = {
        "repeated": lambda: answers(made, requests),
        f"{other.info().rows} rows": lambda: answers(other, requests),
        "submitted in reverse": lambda: answers(made, backwards),
        f"{other.info().rows} rows, submitted in reverse": lambda: answers(other, backwards),
        "one thread": lambda: on_one_thread(lambda: answers(made, requests)),
    }
    return {name: same_share(run(), first) for name, run in changes.items()}


def on_one_thread(run: Callable[[], dict[str, Ids]]) -> dict[str, Ids]:
    with threads(1):
        return run()


def show(report: dict[str, Any]) -> None:
    """Print the results as tables."""
    if figures := report.get("greedy"):
        print(f"\n(a) {figures['replies']} greedy replies: {figures['equal']} equal to generate, ", end="")
        print(f"{figures['excused']} excused by rounding, {figures['unexcused']} NOT excused")
    if figures := report.get("forced"):
        print(f"\n(b) logits against fp32 {'rms':>14} {'largest':>10} {'same best':>10} {'places':>8}")
        for name, key in (("our decode path", "ours"), ("plain forward, bf16", "plain")):
            row = figures[key]
            print(f"    {name:20} {row['rms']:18.5f} {row['largest']:10.4f} {row['same_best']:10.2%} {row['places']:8}")
        print(f"    ours / plain {figures['ours']['rms'] / figures['plain']['rms']:26.3f}")
    if figures := report.get("sampled"):
        print(f"\n(c) sampled, same seeds {'identical replies':>42}")
        for name, share in figures.items():
            print(f"    {name:50} {share:10.1%}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the selected measurements."""
    folder = model_loader.locate(EMBEDDED)
    sampling = RunConfig(num_agents=options.agents, max_new_tokens=options.tokens, repetition_penalty=1.0)
    plan = Plan(make_agents(sampling), load_tasks(options.tasks))
    best = sampling.model_copy(update={"do_sample": False})
    made = engine(folder, options.rows[0], options.tokens)
    report: dict[str, Any] = {"weights": made.info().weights}
    if set(options.only) & set("ab"):
        reference = Reference(folder, options.tokens)
        requests = [make_request(plan, k, "chat", best) for k in range(plan.total)]
        if "a" in options.only:
            report["greedy"] = greedy(made, reference, plan, requests)
        if "b" in options.only:
            prompts = [reference.prompt(request) for request in requests[:: options.agents][: options.forced_tasks]]
            report["forced"] = forced(made, reference, prompts, options.agents)
        del reference
    if "c" in options.only:
        requests = [make_request(plan, k, "chat", sampling) for k in range(plan.total)]
        report["sampled"] = sampled(made, engine(folder, options.rows[1], options.tokens), requests)
    return report


def engine(folder: str, rows: int, tokens: int) -> Engine:
    spec = ReplicaSpec(
        engine="hf", model=folder, device="cpu", weights="nf4", weight_cache="auto", native_kernels="auto",
        cuda_graphs="off", data_parallel=True, rows=rows, max_new_tokens=tokens,
    )  # fmt: skip
    return load_engine(spec)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=164, help="tasks in (a) and (c) (default: %(default)s)")
    parser.add_argument("--forced-tasks", type=int, default=16, help="tasks in (b) (default: %(default)s)")
    parser.add_argument("--agents", type=int, default=4, help="rows that share a prompt (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="maximum length of a reply (default: %(default)s)")
    parser.add_argument(
        "--rows", type=int, nargs=2, default=(128, 48), help="of the engine and the second one in (c) (default: 128 48)"
    )
    parser.add_argument("--only", default="abc", help="letters of the measurements to run (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        report = measure(options)
    except UserError as error:
        parser.error(str(error))
    if options.json:
        head = {"options": {k: str(v) for k, v in vars(options).items()}, "versions": model_loader.versions()}
        options.json.write_text(json.dumps(head | report, indent=2) + "\n")
    show(report)
    return 1 if report.get("greedy", {}).get("unexcused") else 0


if __name__ == "__main__":
    sys.exit(main())
