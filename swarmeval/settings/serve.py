"""`serve:` settings of the API server that `python main.py serve` starts. Runs do not use them."""

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class ServeSettings(Section):
    """The server's address, its authentication and its limits."""

    host: Resumable[str] = Field("127.0.0.1", min_length=1, description="address that the server listens on")
    port: Resumable[int] = Field(
        8000, ge=0, le=65535, description="port that the server listens on; 0 picks a free one"
    )
    key_env: Resumable[str] = Field(
        "SWARMEVAL_API_KEY",
        min_length=1,
        description="environment variable with the API key, or several separated by commas; if it is set, clients must "
        "send one",
    )
    queue: Resumable[int] = Field(
        256, ge=0, le=1_000_000, description="requests that may wait for a free row; further ones get status 429"
    )
    connections: Resumable[int] = Field(
        1024,
        ge=1,
        le=100_000,
        description="limit on open connections; beyond it, a new one replaces the one idle longest",
    )
    max_body_mb: Resumable[int] = Field(8, ge=1, le=1024, description="maximum size of a request body, in MiB")
    hosts: Resumable[tuple[str, ...]] = Field(
        (), description="host names accepted if no key is set, besides IP addresses and localhost"
    )
    docs: Resumable[bool] = Field(False, description="whether to serve /docs, /redoc and /openapi.json")

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb << 20
