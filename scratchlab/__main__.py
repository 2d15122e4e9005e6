"""``python -m scratchlab``."""

import sys

from scratchlab.cli import main
from scratchlab.studies.orphans import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    sys.exit(main())
