"""`thinking:` the thoughts that a model writes before its answer."""

from typing import Annotated, Literal

from pydantic import Field

from swarmeval.settings.section import Section

Marker = Annotated[str, Field(min_length=1)]


class ThinkingSettings(Section):
    """Markers of thoughts and the limit on their length."""

    start: Literal["auto", "off"] | Marker = Field(
        "auto",
        description="text that begins a thought; auto knows the usual families, off leaves thoughts in the reply",
    )
    end: Literal["auto"] | Marker = Field("auto", description="text that ends a thought; auto follows thinking.start")
    budget_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="number of output tokens after which an unfinished thought is ended, so that the answer begins",
    )
