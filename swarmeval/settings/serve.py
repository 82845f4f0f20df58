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
    connections: Resumable[int] = Field(
        1024,
        ge=1,
        le=100_000,
        description="connections open at once; one more replaces the one that has been idle longest",
    )
    max_body_mb: Resumable[int] = Field(8, ge=1, le=1024, description="the longest body of a request, in MiB")
    hosts: Resumable[tuple[str, ...]] = Field(
        (), description="names that clients may call a server without a key by, beside IP addresses and localhost"
    )
    docs: Resumable[bool] = Field(False, description="whether /docs, /redoc and /openapi.json are there")

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb << 20
