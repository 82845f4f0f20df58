"""`sandbox:` the isolation of judged programs."""

from typing import Literal

from pydantic import Field

from swarmeval.settings.section import Section


class SandboxSettings(Section):
    """The sandbox's layers. They affect verdicts (TAMPERED), so a resume may not change them."""

    mode: Literal["strict", "auto", "none"] = Field(
        "auto", description="strict requires every layer of isolation, auto uses those available, none uses none"
    )
