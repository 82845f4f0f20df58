"""A tiny random model that thinks where its template is told so, and whose markers of thoughts are tokens."""

from pathlib import Path

from tests.support import tiny_model

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if think %}<think>\n{% endif %}{% endif %}"
)
CONTEXT_TOKENS = 4096


def save(folder: Path) -> Path:
    """Write model and tokenizer to a folder that our engine and vLLM can load."""
    model = tiny_model.model(context_tokens=CONTEXT_TOKENS, head_dim=32)  # vLLM has no smaller heads on a CPU
    model.save_pretrained(folder)
    tokenizer = tiny_model.tokenizer(TEMPLATE)
    tokenizer.model_max_length = CONTEXT_TOKENS
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.save_pretrained(folder)
    return folder
