"""vLLM as a server on stdin and stdout, one JSON object a line. Knows nothing of this project.

Runs under the interpreter that has vLLM (throughput.py --vllm-python); imports vLLM and the standard library only.
Told {"model", "context_tokens", "threads"}, it loads, warms up and answers {"vllm": its version}. Then it answers each
{"prompts": lists of ids, "seeds", "sampling": settings of SamplingParams} with {"replies": lists of ids, "seconds"}:
those of generation alone, from an empty prefix cache. Between questions it is blocked in read; it ends with its input.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # threads bound to a core would wait for whatever else runs there
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, so that nothing runs unless it is asked
    "GOMP_SPINCOUNT": "10000",  # as ours
}


def load(model: str, context_tokens: int, threads: int) -> Any:
    """A vllm.LLM, and everything compiled that a first request would compile."""
    os.environ.update({"OMP_NUM_THREADS": str(threads), **{k: os.environ.get(k, v) for k, v in SETTINGS.items()}})
    import vllm

    made = vllm.LLM(
        model=model,
        dtype="bfloat16",
        max_model_len=context_tokens,
        enable_prefix_caching=True,
        # vLLM 0.32 dies on a CPU where a prompt with a seed is prefilled in parts: "CPU Generator does not use offset"
        enable_chunked_prefill=False,
        skip_tokenizer_init=True,
    )
    warm = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1, "max_tokens": 3}
    generate(made, [[1, 2, 3]] * 4, range(4), warm)
    return made


def generate(llm: Any, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: dict[str, Any]) -> Any:
    """The ids that were added to each prompt, and the seconds that took."""
    import vllm

    inputs = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
    # The ids that end a text are among the settings, as stop_token_ids, or nothing ends it.
    params = [vllm.SamplingParams(**sampling, seed=seed, ignore_eos=True, detokenize=False) for seed in seeds]
    llm.reset_prefix_cache()
    began = time.perf_counter()
    outputs = llm.generate(inputs, params, use_tqdm=False)
    seconds = time.perf_counter() - began
    return {"replies": [list(output.outputs[0].token_ids) for output in outputs], "seconds": seconds}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not fall between the answers
    llm: Any = None
    for line in sys.stdin:
        question = json.loads(line)
        if llm is None:
            llm = load(**question)
            answer = {"vllm": sys.modules["vllm"].__version__}
        else:
            answer = generate(llm, **question)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
