"""Prompts for the tests of a function: chat messages, or the start of a test file for a base model.

A prompt consists of template, instruction and context. It asks for pytest functions only; combine.py adds the imports
that it shows if the tests use them. The TIDY prompts contain a whole test file and ask for a cleaned-up version.
"""

import re
from collections.abc import Mapping

from swarmeval.requests import Message
from swarmeval.testgen.sources import Context

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
LEAD = "def test_"  # end of a base model's prompt, which belongs to its reply
# A base model that writes one of these has finished its tests.
STOPS = ("\nif __name__", "\nclass ", "\n```", "\n<|")

TIDY = (
    "Below is a file of pytest tests for the module `{module}`, put together from answers that were written apart from "
    "one another. Tidy it: move what is repeated into helpers or fixtures, give the tests one style and an order, and "
    "comment what needs it. Keep each test under its name, in its class where it has one, with what it asserts. Add no "
    "tests, and do not repeat the code under test. Reply with the whole file, imports included, in one Python code "
    "block.\n\n```python\n{tests}\n```"
)
TIDY_FILE = (
    "# test_{last}.py: tests of {module} with pytest, as they were first written\n{tests}\n\n\n"
    "# test_{last}.py, tidied: the same tests under the same names, without repetition\n{lead}"
)
TIDY_LEAD = "import pytest"
TIDY_STOPS = ("\nif __name__", "\n```", "\n<|", "\n# test_")

PLACE = re.compile(r"\{(\w+)\}")


def prompt_imports(context: Context) -> tuple[str, ...]:
    """The imports that a prompt shows."""
    return ("import pytest", f"from {context.module} import {context.subject}")


def chat(context: Context, instruction: str = INSTRUCTION, system_prompt: str | None = None) -> tuple[Message, ...]:
    """The messages for a chat model. `instruction` may use {name}, {module}, {imports} and {context}."""
    user = Message("user", fill(instruction, placeholders(context)))
    return (Message("system", system_prompt), user) if system_prompt else (user,)


def raw(context: Context, template: str = FILE) -> str:
    """The text for a base model to continue. Its tests are LEAD plus the reply."""
    return fill(template, placeholders(context))


def tidy(module: str, tests: str) -> str:
    """The message that asks a chat model to tidy a test file."""
    return fill(TIDY, {"module": module, "tests": tests.rstrip()})


def tidy_raw(module: str, tests: str) -> str:
    """Like `tidy`, for a base model. The file is TIDY_LEAD plus the reply."""
    last = module.rpartition(".")[2]
    return fill(TIDY_FILE, {"module": module, "last": last, "tests": tests.rstrip(), "lead": TIDY_LEAD})


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill the known placeholders of a template. Other braces, including those in code, are unchanged."""
    return PLACE.sub(lambda match: values.get(match[1], match[0]), template)


def placeholders(context: Context) -> dict[str, str]:
    return {
        "name": context.qualname,
        "module": context.module,
        "last": context.module.rpartition(".")[2],
        "imports": "\n".join(prompt_imports(context)),
        "context": context.text,
    }
