"""``python -m scratchlab``, and what a suite or sweep starts its runs with."""

import contextlib
import os
import sys


def leave_current_folder() -> None:
    """Take the current folder from the front of the path, where ``python -m`` puts it.

    A file ``random.py`` that happens to lie there would be imported in place of the library's. The
    folder that holds this package stays, behind everything else: it may not be installed.
    """
    with contextlib.suppress(OSError):  # the current folder may be gone
        if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
            del sys.path[0]
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    if own not in sys.path:
        sys.path.append(own)


if __name__ == "__main__":
    leave_current_folder()
    from scratchlab.cli import main
    from scratchlab.studies.orphans import end_with_parent

    end_with_parent()
    sys.exit(main())
