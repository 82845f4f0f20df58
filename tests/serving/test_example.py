"""The example request that a server prints."""

import json
import shlex

import pytest

from swarmeval.serving.example import curl


@pytest.mark.parametrize(("chats", "path"), [(True, "chat/completions"), (False, "completions")])
def test_any_name_of_a_model_survives_the_shell(chats: bool, path: str) -> None:
    words = shlex.split(curl("http://[::1]:8000/v1", "it's a \\ $HOME `model`", chats, None))
    assert words[:2] == ["curl", f"http://[::1]:8000/v1/{path}"]
    assert json.loads(words[-1])["model"] == "it's a \\ $HOME `model`"


def test_a_key_is_named_by_its_variable_only_where_one_is_needed() -> None:
    assert '--oauth2-bearer "$MY_KEY"' in curl("http://127.0.0.1:1/v1", "m", True, "MY_KEY")
    assert "bearer" not in curl("http://127.0.0.1:1/v1", "m", True, None)
