"""The entry point from a checkout: `python main.py --config config/config.yaml` and the subcommands.

Installed as a package, the same command is `swarmeval`.
"""

import sys

from swarmeval.cli import main

if __name__ == "__main__":
    sys.exit(main())
