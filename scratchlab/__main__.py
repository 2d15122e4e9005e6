"""``python -m scratchlab``."""

import sys

from scratchlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
