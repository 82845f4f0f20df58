"""One server per file, for tests that need no keys and no settings of their own."""

from collections.abc import Iterator

import pytest

from tests.support.judge_server import JudgeClient, judging


@pytest.fixture(scope="module")
def client() -> Iterator[JudgeClient]:
    with judging("judge_service.languages=[python, bash]", "eval_memory_mb=512") as (one,):
        yield one
