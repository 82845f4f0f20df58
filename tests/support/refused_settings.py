"""The error for settings on a command line."""

import pytest

from swarmeval.errors import ConfigError
from swarmeval.settings.loading import parse_set, validate


def refused(*words: str) -> str:
    """The reason why `--set WORDS` is refused."""
    with pytest.raises(ConfigError) as caught:
        validate(parse_set(words), "x.yaml")
    return str(caught.value)
