"""The API key of a server, from its environment variable."""

import os
import sys

from swarmeval.settings.serve import ServeSettings


def api_key(serve: ServeSettings, risk: str) -> str | None:
    """The text with the key, or several separated by commas; None if clients need none.

    Without a key, warns of the `risk` if other machines can reach the server.
    """
    from swarmeval.serving.admission import is_loopback

    key = os.environ.get(serve.key_env) or None
    if key is None and not is_loopback(serve.host):
        print(
            f"swarmeval: serve.host is {serve.host} and {serve.key_env} is not set: "
            f"anyone who can reach this machine can {risk}",
            file=sys.stderr,
        )
    return key
