"""``python -m lightning_failures``: the command line."""

import sys

from lightning_failures.cli import main

if __name__ == "__main__":
    sys.exit(main())
