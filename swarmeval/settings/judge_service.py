"""`judge_service:` settings of the judge over HTTP, `python main.py serve --judge`. Runs do not use them."""

from typing import Annotated

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class JudgeServiceSettings(Section):
    """The limits of one client, and the languages on offer. The address and keys are those of `serve:`."""

    batch: Resumable[int] = Field(256, ge=1, le=10_000, description="maximum number of items in a request")
    queue: Resumable[int] = Field(
        4096, ge=0, le=1_000_000, description="items of one client that may wait; further requests get status 429"
    )
    languages: Resumable[tuple[Annotated[str, Field(min_length=1)], ...] | None] = Field(
        None, description="languages of executed programs on offer; unset offers those whose toolchain is installed"
    )
