"""The prompt for a function's tests."""

from swarmeval.requests import Message
from swarmeval.testgen.prompts import LEAD, chat, prompt_imports, raw
from swarmeval.testgen.sources import Context

CONTEXT = Context(
    "made", "made.some", "shown", 1, 2, 3, 'def shown(x):\n    return f"{x}{name}"', imports=("import math",)
)


def test_a_chat_prompt_names_the_function_its_imports_and_its_context() -> None:
    system, user = chat(CONTEXT, system_prompt="Be brief.")
    assert system == Message("system", "Be brief.")
    assert "`shown`" in user.content
    assert "```python\nimport pytest\nfrom made.some import shown\n```" in user.content
    assert user.content.endswith('```python\nimport math\n\ndef shown(x):\n    return f"{x}{name}"\n```')


def test_a_raw_prompt_is_a_file_that_goes_on_with_a_test() -> None:
    text = raw(CONTEXT)
    assert text.startswith('# made.some\nimport math\n\ndef shown(x):\n    return f"{x}{name}"\n\n\n# test_some.py: ')
    assert text.endswith(f"{prompt_imports(CONTEXT)[1]}\n\n\n{LEAD}")


def test_a_template_is_the_users() -> None:
    (only,) = chat(CONTEXT, "{name}|{module}|{other}")
    assert only.content == "shown|made.some|{other}"
