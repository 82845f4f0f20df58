"""What a model is asked for one function: chat messages, or the beginning of a test file for a base model.

A prompt is template, instruction and context. It asks for pytest functions only; the imports that it shows are added to
the file where its tests use them (see combine).
"""

import re

from testgen.sources import Context
from workers.protocol import Message

INSTRUCTION = (
    "Write unit tests with pytest for `{name}`, shown below as it stands in the module `{module}`. "
    "Reply with pytest functions only, in one Python code block: each named test_..., each about one behaviour, each "
    "with an assertion. Cover ordinary values, edge cases and errors. Do not repeat the code under test, and do not "
    "use files, the network or other processes. The test file begins with these imports already:\n\n"
    "```python\n{imports}\n```\n\nThe code under test:\n\n```python\n{context}\n```"
)
FILE = (
    "# {module}\n{context}\n\n\n"
    "# test_{last}.py: tests of {name} with pytest, one behaviour each\n{imports}\n\n\ndef test_"
)
LEAD = "def test_"  # how a base model's reply begins, in its prompt
# A base model that begins one of these has ended its tests.
STOPS = ("\nif __name__", "\nclass ", "\n```", "\n<|")

PLACE = re.compile(r"\{(name|module|last|imports|context)\}")


def given(context: Context) -> tuple[str, ...]:
    """The imports that a prompt says are there."""
    return ("import pytest", f"from {context.module} import {context.subject}")


def chat(context: Context, instruction: str = INSTRUCTION, system_prompt: str | None = None) -> tuple[Message, ...]:
    """The messages for a chat model. `instruction` may use {name}, {module}, {imports} and {context}."""
    user = Message("user", filled(instruction, context))
    return (Message("system", system_prompt), user) if system_prompt else (user,)


def raw(context: Context, template: str = FILE) -> str:
    """The text for a base model to go on with; its tests are LEAD and what it answers."""
    return filled(template, context)


def filled(template: str, context: Context) -> str:
    """A template with its places filled. Whatever braces the code holds stay as they are."""
    places = {
        "name": context.qualname,
        "module": context.module,
        "last": context.module.rpartition(".")[2],
        "imports": "\n".join(given(context)),
        "context": context.text,
    }
    return PLACE.sub(lambda found: places[found[1]], template)
