"""`sandbox:` the isolation of judged programs."""

from typing import Literal

from pydantic import Field

from swarmeval.settings.section import Section


class SandboxSettings(Section):
    """The sandbox's layers. They affect verdicts (TAMPERED), so a resume may not change them."""

    mode: Literal["strict", "auto", "none"] = Field(
        "auto",
        description="strict requires every isolation layer, auto uses the available ones, none adds no isolation",
    )
