"""Entry point for a checkout: `python main.py --config config/config.yaml`, and the subcommands.

The installed package provides the same command as `swarmeval`.
"""

import sys

from swarmeval.cli import main

if __name__ == "__main__":
    sys.exit(main())
