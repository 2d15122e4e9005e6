"""The options that ``suite`` and ``sweep`` have of their own among the overrides of a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scratchlab.config.overrides import key_of, read_values
from scratchlab.config.schema import check_options
from scratchlab.errors import ConfigError
from scratchlab.registry import Option


def read_study_options(
    words: Sequence[str], options: Sequence[Option], prefix: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """The values of ``options`` (written ``prefix + name=value``) and the words that are none."""
    known = {prefix + o.name for o in options}
    own = [w for w in words if key_of(w) in known]
    rest = [w for w in words if w not in own]
    values, faults = read_values(own, options, prefix)
    complete, found = check_options(prefix.rstrip("."), values, options, ignore=())
    if faults or found:
        raise ConfigError([*faults, *found])
    return complete, rest
