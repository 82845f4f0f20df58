"""vLLM as a server on stdin and stdout, with one JSON object per line. Independent of the rest of this project.

Runs under the interpreter that has vLLM (--vllm-python); imports only vLLM and the standard library. The
first line, {"model", "context_tokens", "threads"}, makes it load and warm up; the answer is {"vllm": its version}.
Each further line, {"prompts": lists of ids, "seeds", "sampling": settings of SamplingParams}, is answered with
{"replies": lists of ids, "seconds"}: the time of generation alone, with an empty prefix cache. Between questions it
blocks on its input, and it exits when that ends.
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
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # bound threads would have to wait for other processes on their core
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, which is idle between questions
    "GOMP_SPINCOUNT": "10000",  # same as for our workers
}


def load(model: str, context_tokens: int, threads: int) -> Any:
    """Load a vllm.LLM and warm it up, so that the first request needs no compilation."""
    os.environ.update({"OMP_NUM_THREADS": str(threads), **{k: os.environ.get(k, v) for k, v in SETTINGS.items()}})
    import vllm

    made = vllm.LLM(
        model=model,
        dtype="bfloat16",
        max_model_len=context_tokens,
        enable_prefix_caching=True,
        # On a CPU, vLLM 0.32 crashes on chunked prefill with a seed: "CPU Generator does not use offset"
        enable_chunked_prefill=False,
        skip_tokenizer_init=True,
    )
    warm = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1, "max_tokens": 3}
    generate(made, [[1, 2, 3]] * 4, range(4), warm)
    return made


def generate(llm: Any, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: dict[str, Any]) -> Any:
    """Generate; return the new token ids per prompt and the elapsed seconds."""
    import vllm

    inputs = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
    # End-of-text ids are passed as stop_token_ids in the settings; without them, replies have full length.
    params = [vllm.SamplingParams(**sampling, seed=seed, ignore_eos=True, detokenize=False) for seed in seeds]
    llm.reset_prefix_cache()
    began = time.perf_counter()
    outputs = llm.generate(inputs, params, use_tqdm=False)
    seconds = time.perf_counter() - began
    return {"replies": [list(output.outputs[0].token_ids) for output in outputs], "seconds": seconds}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps the output of libraries out of the answers
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
