"""A greedy reply of a replica loaded from files, and the same reply by transformers' generate."""

from typing import Any

from swarmeval.requests import Request, Sampling
from swarmeval.workers.replica import load_engine
from swarmeval.workers.replica_spec import ReplicaSpec
from tests.support import tiny_model
from tests.support.tiny_engine import answer

TEXT = "def add(a, b):"
TOKENS = 16


def reply_of(spec: ReplicaSpec) -> tuple[str, Any]:
    """The reply of the built-in engine, and the engine's information."""
    engine = load_engine(spec)
    request = Request("0/t/0/0", 1, Sampling(TOKENS, do_sample=False), text=TEXT)
    return answer(engine, [request])[request.job_id].text, engine.info()


def generated(model: Any) -> str:
    """The reply that transformers generates."""
    tokenizer = tiny_model.tokenizer()
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    tokens = model.generate(ids, do_sample=False, max_new_tokens=TOKENS, eos_token_id=[1, 2], pad_token_id=1)
    return str(tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True))
