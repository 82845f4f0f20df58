"""Determines W&B's mode, and whether a login exists. Reads the same files and variables as wandb, without wandb."""

import configparser
import netrc
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from swarmeval.errors import ConfigError
from swarmeval.settings.run_config import RunConfig

MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "off"}


def check_login(config: RunConfig, environ: Mapping[str, str]) -> str:
    """The mode that W&B will run in. Raises ConfigError for an unknown WANDB_MODE, and for online without a login."""
    mode = _mode(config, environ)
    if mode == "online" and not (config.wandb.api_key or _logged_in(environ)):
        raise ConfigError(
            "wandb.mode is 'online' but there is no W&B login; run 'wandb login', set WANDB_API_KEY, "
            "or set wandb.mode: offline"
        )
    return mode


def _mode(config: RunConfig, environ: Mapping[str, str]) -> str:
    requested = environ.get("WANDB_MODE", "")
    if config.wandb.mode == "off" or not requested:
        return config.wandb.mode
    if requested not in MODES:
        raise ConfigError(f"WANDB_MODE is {requested!r}; use one of {', '.join(MODES)}, or unset it")
    return MODES[requested]


def _logged_in(environ: Mapping[str, str]) -> bool:
    """Whether wandb will find a login without a prompt: in a variable, or in the server's entry of ~/.netrc."""
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    home = Path(environ.get("HOME", "~")).expanduser()
    try:
        entries = netrc.netrc(environ.get("NETRC") or home / ".netrc")
    except (OSError, ValueError, netrc.NetrcParseError):  # ValueError: not valid text
        return False
    server = _server(environ, home)
    try:
        return entries.authenticators(urlsplit(server).netloc) is not None
    except ValueError:
        raise ConfigError(f"the W&B server is {server!r}, not a valid URL; fix or unset WANDB_BASE_URL") from None


def _server(environ: Mapping[str, str], home: Path) -> str:
    """URL of the W&B server: from the user's variable, from `wandb login --host`, or the public one."""
    settings = configparser.ConfigParser(interpolation=None)
    folder = Path(environ.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb")
    try:
        settings.read(folder / "settings")
    except (OSError, ValueError, configparser.Error):
        settings.clear()
    configured = settings.get("default", "base_url", fallback="https://api.wandb.ai")
    return environ.get("WANDB_BASE_URL") or configured
