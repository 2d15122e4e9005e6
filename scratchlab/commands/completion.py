"""Tab completion: the verbs here, the rest by Hydra's own completion.

``eval "$(scratchlab -sc install=bash)"`` installs it. Hydra's completion asks the program itself,
with the whole line in ``COMP_LINE``; the verb is cut out of that line before Hydra sees it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from scratchlab.config.groups import CONFIG_MODULE
from scratchlab.errors import UserError, suggest


def complete(arguments: Sequence[str], verbs: Sequence[str]) -> int:
    """Answer ``-sc install=SHELL``, ``-sc uninstall=SHELL`` or ``-sc query=SHELL``."""
    if not any(a.startswith(("install=", "uninstall=", "query=")) for a in arguments):
        hint = 'For example: eval "$(scratchlab -sc install=bash)"'
        raise UserError(f"{arguments[0]} needs install=SHELL, uninstall=SHELL or query=SHELL", hint)
    shells = ("bash", "zsh", "fish")
    if (shell := arguments[-1].partition("=")[2]) not in shells:
        raise UserError(f"there is no completion for {shell!r}", suggest(shell, shells, "Shells"))
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    query = any(a.startswith("query=") for a in arguments)
    if query and (len(words) < 2 or (len(words) == 2 and not line.endswith(" "))):
        typed = words[1] if len(words) == 2 else ""
        print("\n".join(v for v in verbs if v.startswith(typed)))
        return 0
    if query and words[1] == "suite" and "=" not in line:
        from scratchlab.studies.suite_file import suite_files

        typed = words[-1] if len(words) > 2 and not line.endswith(" ") else ""
        print("\n".join(name for name in suite_files() if name.startswith(typed)))
        return 0
    if query and words[1] == "exercise" and words[2:3] != ["use"]:
        from scratchlab.exercises.checking.solution import exercise_parts

        typed = words[-1] if not line.endswith(" ") else ""
        named = words[2:3] in (["start"], ["hint"]) and len(words) + line.endswith(" ") > 3
        ways = exercise_parts() if named else ("list", "start", "check", "hint", "use")
        print("\n".join(way for way in ways if way.startswith(typed)))
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
