"""Weights & Biases: offline unless an account is set up, and one run through all resumes."""

from __future__ import annotations

import math
import netrc
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scratchlab.errors import MissingPackageError
from scratchlab.registry import option, register
from scratchlab.run.atomic import write_text
from scratchlab.run.temporary import use_own_folder
from scratchlab.tracking.contract import RunInfo, Tracker
from scratchlab.tracking.jsonl import METRICS, TIMINGS, read_lines

# Options whose value is never sent, and the part of an address that names a user and a password.
SECRET_NAMES = re.compile(r"(^|_)(token|password|passwd|secret|api_?key|credentials?)($|_)", re.I)
ADDRESS_USER = re.compile(r"(?<=://)[^/@\s]+@")
MODES = ("online", "offline", "disabled")


@register("tracker", "wandb", needs=("wandb",), extra="wandb")
class Wandb(Tracker):
    """Log to Weights & Biases; what was logged offline is sent later with ``wandb sync``."""

    @dataclass(frozen=True)
    class Config:
        project: str = option("scratchlab", "the project that the run belongs to")
        entity: str | None = option(None, "the user or team that the run belongs to")
        group: str | None = option(None, "a name that runs of one comparison share")
        tags: list[str] = option([], "labels to find the run by")
        mode: str = option(
            "auto",
            "auto: online if an account is set up on this machine, else offline",
            choices=("auto", "online", "offline", "disabled"),
        )

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._wandb: Any = None
        self._run: Any = None
        self._step = 0

    def start(self, run: RunInfo) -> None:
        use_own_folder()  # the library makes folders for temporary files when it is imported
        try:
            import wandb
        except ImportError as error:
            raise MissingPackageError("wandb", "The tracker wandb", "wandb") from error
        mode: Any = choose_mode(self.config.mode, os.environ)
        self._wandb = wandb
        self._step = run.resumed_from
        self._run = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            group=self.config.group,
            tags=list(self.config.tags) or None,
            name=f"{run.name}/{run.run_id}",
            id=run_id(run.folder),
            # Offline there is no server to ask; the same id joins the parts when they are sent.
            resume=None if mode == "offline" else "allow",
            dir=str(run.folder),
            mode=mode,
            config=without_secrets(run.config),
            settings=wandb.Settings(**_settings(wandb.Settings.model_fields)),
        )
        if run.resumed_from and mode != "disabled":
            self._log_again(run)

    def _log_again(self, run: RunInfo) -> None:
        """Log what a killed process logged and its buffers lost; the run's own files have it all.

        Offline that is everything: this part of the run then says it all. A server knows better
        what it has.
        """
        entries: dict[int, tuple[dict[str, float], dict[str, float]]] = {}
        for which, name in enumerate((METRICS, TIMINGS)):
            for entry in read_lines(run.folder / name):
                values = {k: math.nan if v is None else v for k, v in entry.items() if k != "step"}
                entries.setdefault(int(entry["step"]), ({}, {}))[which].update(values)
        known = int(self._run.step or 0)
        for step in sorted(entries):
            if known <= step <= run.resumed_from:
                self.log(step, *entries[step])

    def log(self, step: int, scalars: Mapping[str, float], timing: Mapping[str, float]) -> None:
        if self._run is None:
            return
        self._step = step
        values = {name: float(value) for name, value in scalars.items()}
        values.update((f"timing/{name}", float(value)) for name, value in timing.items())
        # A step that the server already has is dropped there: a resumed run repeats it identically.
        self._run.log(values, step=step)

    def image(self, step: int, name: str, path: Path) -> None:
        if self._run is not None:
            self._run.log({name: self._wandb.Image(str(path))}, step=max(step, self._step))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if self._run is None:
            return
        # As text: a column of the server's tables takes one type only.
        texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
        table = self._wandb.Table(columns=list(columns), data=texts)
        self._run.log({name: table}, step=self._step)

    def finish(self, status: str) -> None:
        if self._run is not None:
            self._run.summary["status"] = status
            self._run.finish(exit_code=1 if status == "failed" else 0)
        self._run = None


def choose_mode(asked: str, environment: Mapping[str, str]) -> str:
    """The mode asked for; for auto $WANDB_MODE, else what fits whether there is an account."""
    if asked != "auto":
        return asked
    if environment.get("WANDB_MODE") in MODES:
        return environment["WANDB_MODE"]
    return "online" if account_is_set_up(environment) else "offline"


def account_is_set_up(environment: Mapping[str, str]) -> bool:
    """Whether a key for the server is in the environment or in the user's netrc file."""
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    address = environment.get("WANDB_BASE_URL", "https://api.wandb.ai")
    home = Path(environment.get("HOME") or Path.home())
    chosen = environment.get("NETRC")
    for path in [Path(chosen)] if chosen else [home / ".netrc", home / "_netrc"]:
        try:
            known = netrc.netrc(path).hosts
        except (OSError, netrc.NetrcParseError):
            continue
        if urlsplit(address).hostname in known:
            return True
    return False


def run_id(folder: Path) -> str:
    """The W&B id of the run in ``folder``: made once, then read back at each resume."""
    path = folder / "wandb" / "run_id"
    if path.exists():
        return path.read_text(encoding="utf-8").strip()
    made = secrets.token_hex(4)
    write_text(path, made + "\n")
    return made


def without_secrets(value: Any) -> Any:
    """A copy of a configuration without passwords, tokens and users in addresses."""
    if isinstance(value, Mapping):
        return {
            str(key): "(hidden)"
            if SECRET_NAMES.search(str(key)) and _telling(inner)
            else without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return ADDRESS_USER.sub("", value) if isinstance(value, str) else value


def _telling(value: Any) -> bool:
    """Numbers and switches (``max_token: 5``) hold no secret; text and what is inside may."""
    return value is not None and not isinstance(value, bool | int | float)


def _settings(known: Mapping[str, Any]) -> dict[str, Any]:
    """Silence about accounts, nothing of the console, the code or the command line sent."""
    wanted = {
        "silent": True,
        "console": "off",
        "disable_code": True,
        "disable_git": True,
        "x_disable_meta": True,
        "x_save_requirements": False,
        # A slow server must not hold a finished run for ever; what is left is on the disk.
        "finish_timeout": 300.0,
    }
    return {name: value for name, value in wanted.items() if name in known}
