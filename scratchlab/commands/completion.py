"""Tab completion: the verbs here, the rest by Hydra's own completion.

``eval "$(scratchlab -sc install=bash)"`` installs it. Hydra's completion asks the program itself,
with the whole line in ``COMP_LINE``; the verb is cut out of that line before Hydra sees it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from scratchlab.config.compose import CONFIG_MODULE


def complete(arguments: Sequence[str], verbs: Sequence[str]) -> int:
    """Answer ``-sc install=SHELL``, ``-sc uninstall=SHELL`` or ``-sc query=SHELL``."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    query = any(a.startswith("query=") for a in arguments)
    if query and (len(words) < 2 or (len(words) == 2 and not line.endswith(" "))):
        typed = words[1] if len(words) == 2 else ""
        print("\n".join(v for v in verbs if v.startswith(typed)))
        return 0
    if query and words[1] in verbs:
        rest = line.split(words[1], 1)[1]
        os.environ["COMP_LINE"] = words[0] + rest
        os.environ["COMP_POINT"] = str(len(os.environ["COMP_LINE"]))
    import hydra

    def nothing(config: object) -> None:
        """Completion ends before any task."""

    sys.argv = ["scratchlab", *arguments]
    main = hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name="train", version_base="1.3")
    main(nothing)()
    return 0
