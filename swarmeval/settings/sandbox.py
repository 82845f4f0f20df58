"""`sandbox:` what holds the programs that are judged."""

from typing import Literal

from pydantic import Field

from swarmeval.settings.section import Section


class SandboxSettings(Section):
    """The sandbox's layers. They decide what TAMPERED means, so a resume may not change them."""

    mode: Literal["strict", "auto", "none"] = Field(
        "auto", description="strict needs every layer of the sandbox, auto takes those there are, none adds none"
    )
