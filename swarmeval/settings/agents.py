"""The settings of one agent, and the limits on values that both runs and agents can set."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Temperature = Annotated[float, Field(gt=0, le=10)]
TopP = Annotated[float, Field(gt=0, le=1)]
TopK = Annotated[int, Field(ge=0)]
MinP = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
# Its keys are texts in JSON.
TokenId = Annotated[
    int, BeforeValidator(lambda key: int(key) if re.fullmatch(r"\d{1,9}", str(key)) else key), Field(ge=0)
]
LogitBias = dict[TokenId, Annotated[float, Field(ge=-100, le=100)]]
Repairs = Annotated[int, Field(ge=0, le=100)]
Samples = Annotated[int, Field(ge=1, le=1_000_000)]


class AgentSettings(BaseModel):
    """One entry of `agents`. An omitted value defaults to the run's setting."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str | None = None  # agents with the same name form a profile, which gets its own score
    count: int = Field(1, ge=1, le=1_000_000)
    seed: int | None = Field(None, ge=0, lt=2**63)
    system_prompt: str | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    samples: Samples | None = None
    max_repairs: Repairs | None = None
    adapter: str | None = None  # a name in the run's `adapters`; it also names the profile of an unnamed agent
