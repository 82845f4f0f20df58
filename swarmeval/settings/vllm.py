"""`vllm:` arguments of vLLM's engine, beside those that other settings decide."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from swarmeval.settings.section import Section

# Arguments that a setting decides; "": the runtime decides.
DECIDED = {
    "model": "model_id", "tokenizer": "model_id", "served_model_name": "model_id", "revision": "model_revision",
    "tokenizer_revision": "model_revision", "code_revision": "model_revision", "dtype": "weights",
    "quantization": "weights", "load_format": "weights", "seed": "seed", "max_num_seqs": "replica.rows",
    "enforce_eager": "replica.cuda_graphs", "trust_remote_code": "trust_remote_code", "device": "device",
    "data_parallel_size": "use_data_parallelism", "generation_config": "temperature and its like",
    "override_generation_config": "temperature and its like",
    "hf_token": "the environment variable HF_TOKEN", "disable_log_stats": "", "skip_tokenizer_init": "",
}  # fmt: skip
OF_ALL_GPUS = ("tensor_parallel_size", "pipeline_parallel_size", "distributed_executor_backend")


class VllmSettings(Section):
    """Arguments for vLLM's engine, with fleet: vllm."""

    args: dict[str, Any] = Field(
        {}, description="further arguments of vllm.EngineArgs, such as speculative_config. Do not put secrets here"
    )

    def faults(self, data_parallel: bool) -> Iterator[str]:
        """Arguments that contradict a setting, one per line. `data_parallel`: whether each GPU has its own engine."""
        for name in self.args:
            if name in DECIDED:
                remedy = f"set {DECIDED[name]} instead" if DECIDED[name] else "Swarmeval sets it; remove it"
                yield f"vllm.args.{name} cannot be set: {remedy}"
            elif name in OF_ALL_GPUS and data_parallel:
                yield f"vllm.args.{name} needs one engine over all GPUs; set use_data_parallelism: false or remove it"
        try:
            json.dumps(self.args, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            yield "vllm.args contains a value that JSON cannot represent; remove it"
