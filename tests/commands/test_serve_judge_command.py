"""`python main.py serve --judge` refuses in one line what it cannot offer, before it listens."""

import pytest

from swarmeval.sandbox.languages import languages
from swarmeval.settings.run_config import JUDGE_SERVICE_USES
from tests.support.command_line import swarmeval

pytestmark = pytest.mark.slow


def test_settings_of_runs_are_refused() -> None:
    reason = f"serve --judge does not use it; it uses {', '.join(sorted(JUDGE_SERVICE_USES))}"
    assert swarmeval("serve", "--judge", "--set", "num_agents=3") == (2, "", f"swarmeval: --set num_agents: {reason}\n")


def test_a_language_without_a_toolchain_is_refused_if_it_was_named() -> None:
    reason = f"judge_service.languages: language is 'cobol'; use one of {', '.join(languages())}"
    found = swarmeval("serve", "--judge", "--set", "judge_service.languages=[python, cobol]")
    assert found == (2, "", f"swarmeval: {reason}\n")
