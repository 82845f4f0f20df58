"""`serve:` the server of `python main.py serve`. No run depends on it."""

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class ServeSettings(Section):
    """Where the server listens, and to whom."""

    host: Resumable[str] = Field("127.0.0.1", min_length=1, description="the address that `serve` listens at")
    port: Resumable[int] = Field(8000, ge=0, le=65535, description="its port; 0: any free one")
    key_env: Resumable[str] = Field(
        "SWARMEVAL_API_KEY",
        min_length=1,
        description="the environment variable with the key that clients must show, if it is set",
    )
    queue: Resumable[int] = Field(
        256, ge=0, le=1_000_000, description="answers that may wait for a row; beyond it clients get a 429"
    )
