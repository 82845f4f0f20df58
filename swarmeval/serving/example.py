"""An example request for trying out a server, as a shell command."""

import json
import shlex

LONGEST_TOKENS = 64  # keeps the example's answer short


def curl(url: str, model: str, chats: bool, key_env: str | None) -> str:
    """A curl command to paste. `url` ends in /v1; `key_env` is the environment variable of the key, None: no key."""
    path = "chat/completions" if chats else "completions"
    asked = {"messages": [{"role": "user", "content": "Say hello."}]} if chats else {"prompt": "def add(a, b):"}
    lines = [f"curl {shlex.quote(f'{url}/{path}')}", "-H 'Content-Type: application/json'"]
    if key_env is not None:
        lines.append(f'--oauth2-bearer "${key_env}"')  # a literal header would be scrubbed from the output as a key
    lines.append(f"-d {shlex.quote(json.dumps({'model': model, **asked, 'max_tokens': LONGEST_TOKENS}))}")
    return " \\\n  ".join(lines)
