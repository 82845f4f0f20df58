"""`prices:` what tokens and devices cost, to state the cost of a run. Without prices, none is stated."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from swarmeval.settings.section import Resumable, Section

Price = Annotated[float, Field(ge=0, le=1e9)]


class PriceSettings(Section):
    """Prices change no reply and no verdict, so a resumed run may have others."""

    currency: Resumable[str] = Field("USD", min_length=1, max_length=12, description="name of the currency")
    input_per_million: Resumable[Price | None] = Field(None, description="price of a million input tokens")
    output_per_million: Resumable[Price | None] = Field(
        None, description="price of a million output tokens, thoughts included"
    )
    per_device_hour: Resumable[Price | None] = Field(
        None, description="price of an hour of each GPU, or of the machine with device: cpu"
    )

    @model_validator(mode="after")
    def _both_kinds_of_tokens(self) -> Self:
        if (self.input_per_million is None) != (self.output_per_million is None):
            raise ValueError("input_per_million and output_per_million belong together; set both, 0 for what is free")
        return self

    def is_known(self) -> bool:
        return self.input_per_million is not None or self.per_device_hour is not None
