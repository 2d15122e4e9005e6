"""Choices that were made by measuring, kept so that the same command makes the same choice again.

A measurement that is close would come out otherwise now and then, and with it the bits of a run.
What was found first therefore holds on this machine until the folder of prepared data is emptied.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scratchlab.errors import UserError
from scratchlab.run.atomic import write_json


def cache_folder(config: Mapping[str, Any]) -> Path:
    """Where prepared data and choices are kept: cache_dir, $SCRATCHLAB_CACHE or ~/.cache."""
    named = config.get("cache_dir") or os.environ.get("SCRATCHLAB_CACHE")
    return Path(named or "~/.cache/scratchlab").expanduser()


def decided_once(
    cache: Path, what: str, circumstances: Mapping[str, Any], decide: Callable[[], dict[str, str]]
) -> tuple[dict[str, str], bool]:
    """What ``decide`` found under these circumstances, and whether that was an earlier time.

    ``circumstances`` holds all that the choice may depend on (JSON values). A folder that cannot be
    written, or a file that cannot be read, only means that it is decided anew.
    """
    text = json.dumps(circumstances, sort_keys=True, default=str)
    path = cache / "decisions" / what / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(path.read_text(encoding="utf-8"))["decision"]
        return {str(key): str(value) for key, value in found.items()}, True
    decision = decide()
    with contextlib.suppress(OSError, UserError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"circumstances": json.loads(text), "decision": decision})
    return decision, False
