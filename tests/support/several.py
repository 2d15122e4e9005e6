"""A training in several processes, started as torchrun starts them."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.commands import Command, Done, Launcher


def start_several(
    launcher: Launcher,
    count: int,
    *words: str,
    cwd: Path,
    settings: Mapping[int, dict[str, Any]] | None = None,
) -> list[Command]:
    """The processes of one command; ``settings`` are of the process of a rank."""
    from torch.distributed import TCPStore

    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(meeting.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(count),
    }
    commands = [
        launcher.start(
            *words,
            environment=place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            **({"cwd": cwd} | (settings or {}).get(rank, {})),
        )
        for rank in range(count)
    ]
    commands[0].meeting = meeting  # which must last as long as they do
    return commands


def ended(commands: list[Command]) -> list[Done]:
    """How they ended; as torchrun does, the failure of one ends the others."""
    failed = False
    limit = time.monotonic() + 300
    while [c for c in commands if c.running()]:
        if not failed and any(c.code not in (None, 0, 130) for c in commands):
            failed = True
            for one in commands:
                if one.code is None:
                    one.signal(signal.SIGTERM)
        assert time.monotonic() < limit, "the processes hang"
        time.sleep(0.02)
    return [c.wait() for c in commands]


def run_several(launcher: Launcher, count: int, *words: str, cwd: Path) -> Done:
    """A training of ``count`` processes that ends well; what process 0 said."""
    if count == 1:
        done = [launcher.run(*words, cwd=cwd)]
    else:
        done = ended(start_several(launcher, count, *words, cwd=cwd))
    assert [one.code for one in done] == [0] * count, [one.err for one in done]
    assert [one.out + one.err for one in done[1:]] == [""] * (count - 1)
    return done[0]
