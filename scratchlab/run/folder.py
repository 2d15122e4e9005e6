"""The folder of one run: where it is made, what lies in it, and how it is found again."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import os
import re
from pathlib import Path
from typing import IO, Any

import yaml

from scratchlab.config.overrides import last_of_each
from scratchlab.config.reading import read_json, read_mapping, read_yaml, require
from scratchlab.config.root import FOLDER_NAME
from scratchlab.errors import UserError, nearest, shortened, suggest, system_reason
from scratchlab.regular_files import expanded
from scratchlab.run.atomic import open_to_append, write_json, write_text
from scratchlab.run.decisions import STUDY_RECORD

LOGGER = logging.getLogger("scratchlab")
LOCK = ".lock"
HOLDER = re.compile(r"[^/:]+:[0-9a-f]{4}-\d+-[0-9a-f]+:[0-9a-f]{8}")  # what a link as a lock names
RESULTS = "results.json"
LONGEST_PART = 255  # bytes of a name in a path
NOTES = frozenset(
    ("config.yaml", "overrides.yaml", "manifest.json", "status.json", "train.log", LOCK)
)
LINES = ("metrics.jsonl", "timings.jsonl")


class RunFolder:
    """Paths and small files of a run. Use :meth:`create` or :meth:`open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None
        self._configured = False  # whether there was a configuration already

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def name(self) -> str:
        return self.path.parent.name

    @property
    def run_id(self) -> str:
        return self.path.name

    @classmethod
    def create(
        cls, output_dir: str | Path, name: str, run_id: str | None = None, *, resume: bool = False
    ) -> RunFolder:
        """Make a new, empty run folder.

        Without a ``run_id`` the date and time make one; if two runs start in the same second the
        later one gets a number. A ``run_id`` that exists already is a :class:`UserError`, unless
        that run ended before its first checkpoint (a mistake in the command, say), or it is to
        ``resume`` and a process was killed before it had written even the configuration.
        """
        for key, value in (("name", name), ("run_id", run_id)):
            if value is not None and not FOLDER_NAME.fullmatch(value):
                raise UserError(
                    f"{key}: {value!r} cannot be the name of a folder",
                    "Use letters, digits and . _ + = , - (the first a letter or digit).",
                )
        parent = expanded(output_dir) / name
        stem = run_id or datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        for attempt in range(1, 1000):
            path = parent / (stem if attempt == 1 else f"{stem}_{attempt}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                if resume and path.is_dir() and not (path / "config.yaml").exists():
                    return cls(path)._not_half()
                if run_id is not None and cls(path).ended_untrained():
                    return cls(path)
                if run_id is not None and path.is_dir():
                    hint = "Write resume=true to go on with it, or choose another run_id."
                    raise UserError(f"the run {path} exists already", hint) from None
                if path.is_dir():
                    continue
                raise UserError(
                    f"the run folder {path} cannot be made: a file is in the way",
                    "Choose another place with output_dir=FOLDER.",
                ) from None
            except OSError as error:
                raise UserError(
                    f"the run folder {path} cannot be made: {system_reason(error)}",
                    "Choose another place with output_dir=FOLDER.",
                ) from error
            return cls(path)
        raise UserError(f"no free name for a run below {parent}")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A folder that exists; :class:`UserError` if it is not a run's."""
        if not (path / "config.yaml").is_file():
            raise UserError(f"{path} is no run folder (it has no config.yaml)")
        folder = cls(path)
        folder._configured = True
        return folder

    def _not_half(self) -> RunFolder:
        """Itself, unless something of another run lies in it: that one would be gone on with."""
        left = [n for n in ("checkpoints", "metrics.jsonl", RESULTS) if (self.path / n).exists()]
        if left:
            raise UserError(
                f"{self.path} is half a run: it has {left[0]}, but no config.yaml",
                "Restore the file (a copy is in each checkpoint), or choose another run_id.",
            )
        return self

    def require_whole(self) -> None:
        """UserError if the folder was removed, or exchanged, since this process locked it."""
        if self._lock is None:
            return
        try:
            now = (self.path / LOCK).stat()
        except OSError:
            now = None
        if now is None or not os.path.samestat(now, os.fstat(self._lock.fileno())):
            raise UserError(
                f"{self.path} was removed or moved while the run wrote to it",
                "What it held is lost, unless it was moved. Start the run anew.",
            )
        if self._configured and not (self.path / "config.yaml").is_file():
            raise UserError(f"{self.path} has lost its config.yaml while the run wrote to it")

    def ended_untrained(self) -> bool:
        """Whether the run failed or was stopped with nothing to go on from."""
        ended = self.status()["status"] in ("failed", "stopped")
        return ended and not any(self.checkpoints.glob("*"))

    def remove_untouched(self) -> None:
        """Remove the folder, and that of its name, if there is nothing in it but notes of a start.

        So that a command with a mistake in it, which the console has told of, leaves nothing.
        """
        with contextlib.suppress(OSError):
            if not all(_is_note(path) for path in self.path.iterdir()):
                return
            for path in self.path.iterdir():
                path.unlink()
            self.path.rmdir()
            link = self.path.parent / "latest"
            if link.is_symlink() and str(link.readlink()) == self.path.name:
                link.unlink()
                others = sorted(p.parent for p in self.path.parent.glob("*/config.yaml"))
                for other in others[-1:]:
                    RunFolder(other).point_latest()
            self.path.parent.rmdir()  # stays if other runs are in it

    def point_latest(self) -> None:
        """Let ``<name>/latest`` lead here (best effort: file systems without links go without)."""
        link = self.path.parent / "latest"
        temporary = self.path.parent / f".latest-{os.getpid()}"
        with contextlib.suppress(OSError):
            if link.exists() and not link.is_symlink():
                return
            temporary.symlink_to(self.path.name)
            temporary.replace(link)

    def lock(self, *, shared: bool = False) -> None:
        """Keep other processes from training into this folder for as long as this process lives,
        or (``shared``) those that would have it for themselves.

        UserError if a link in it would lead what is written somewhere else.
        """
        refuse_links(self.path)
        handle = open_to_append(self.path / LOCK)
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise UserError(
                f"{self.path} is in use by another process", "Wait for it, or start a new run."
            ) from None
        except OSError:  # a file system without locks
            LOGGER.warning("%s cannot be locked: start no second process in it", self.path)
        self._lock = handle

    def unlock(self) -> None:
        """Let others in again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_config(self, config: dict[str, Any], overrides: list[str]) -> None:
        """Keep the complete configuration and what the user wrote, after what was written before.

        Of a run that goes on, only words that say something new are added.
        """
        written = self._overrides()
        latest = last_of_each(written)
        overrides = written + [w for w in overrides if w not in latest]
        write_text(self.path / "config.yaml", dump_yaml(config))
        self._configured = True
        write_text(self.path / "overrides.yaml", dump_yaml(list(overrides)))

    def _overrides(self) -> list[str]:
        try:
            found = read_yaml(self.path / "overrides.yaml")
        except UserError:
            return []
        return [str(word) for word in found] if isinstance(found, list) else []

    def config(self) -> dict[str, Any]:
        """The configuration as it was saved (unchecked)."""
        return read_config(self.path / "config.yaml")

    def write_status(self, status: str, **details: Any) -> None:
        """``running``, ``done``, ``failed`` or ``stopped``, with the time."""
        self.require_whole()
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(self.path / "status.json", {"status": status, "time": now, **details})

    def status(self) -> dict[str, Any]:
        """What :meth:`write_status` wrote last; ``{"status": "unknown"}`` if it cannot be read."""
        try:
            return require(read_json(self.path / "status.json"), {"status": "str"}, "status.json")
        except UserError:
            return {"status": "unknown"}


def _is_note(path: Path) -> bool:
    """Whether a file says how a run started, and nothing of what came of it."""
    if path.is_symlink():
        return False
    return path.name in NOTES or (path.name in LINES and path.stat().st_size == 0)


def refuse_links(root: Path) -> None:
    """UserError if anything below ``root`` is a link: what is written to a run stays in it.

    Except those that are made here: ``latest``, beside the folder that it names; a lock, which
    names who holds it and leads nowhere; and W&B's own, as long as they lead to something below
    ``root``. W&B's link to the log of its process, which lies in the user's cache, is taken away:
    nobody reads it any more, and nothing is written through it.
    """
    whole = root.resolve()
    for folder, folders, files in os.walk(root):
        for path in (Path(folder) / name for name in (*folders, *files)):
            try:
                leads_to = str(path.readlink())
            except OSError:  # no link, or one that is gone by now
                continue
            ours = path.name == "latest" and Path(leads_to).name == leads_to
            ours = ours or (LOCK in path.name and HOLDER.fullmatch(leads_to) is not None)
            if not ours and "wandb" in path.relative_to(root).parts[:-1]:
                ours = path.resolve().is_relative_to(whole)
                if not ours and (path.parent.name, path.name) == ("logs", "debug-core.log"):
                    path.unlink()
                    continue
            if not ours:
                raise UserError(
                    f"{path} is a link; a run is written through none",
                    "Replace it by what it leads to, or remove it.",
                )


def dump_yaml(value: Any) -> str:
    """YAML of plain values, in the order given."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def read_config(path: Path) -> dict[str, Any]:
    """A saved configuration: plain values only; interpolations in it are never resolved."""
    return read_mapping(path)


def read_trained(path: Path) -> dict[str, Any]:
    """The configuration of the run in the folder ``path``, which may be somebody else's.

    Where prepared data are kept is for the command and this machine to say.
    """
    config = read_config(path / "config.yaml")
    return config | {"cache_dir": None} if "cache_dir" in config else config


def find_run(given: str, output_dir: str | Path = "outputs") -> Path:
    """The folder of a run or of a single checkpoint that a user names.

    Accepts a run folder, ``…/latest``, a checkpoint folder, a name below ``output_dir`` (its latest
    run is taken) and ``name/run_id``. :class:`UserError` with the nearest name otherwise.
    """
    candidates = places_of(given, output_dir)
    for path in candidates:
        if (path / "config.yaml").is_file():
            return path.resolve()
        if (path / STUDY_RECORD).is_file():
            raise UserError(f"{path} is a suite or a sweep, not a run", _runs_in(path))
        if (path / "latest" / "config.yaml").is_file():
            return (path / "latest").resolve()
    existing = next((p for p in candidates if p.exists() and not _holds_only_own(p)), None)
    if existing is not None:
        raise UserError(
            f"{existing} is no run (a run folder holds a config.yaml)", _runs_in(existing)
        )
    found = sorted(p.parent for p in expanded(output_dir).glob("*/*/config.yaml"))
    known = [str(p) for p in found if not _is_own(p)]
    few = known if len(known) <= 10 else [*filter(None, [nearest(given, known)]), *known[-9:]]
    hint = suggest(given, few, "Runs here") or f"There are no runs below {output_dir} yet."
    if len(known) > len(few):
        hint = f"{hint.removesuffix('.')} and {len(known) - len(few):,} more."
    raise UserError(f"there is no run {shortened(given)}", hint)


def places_of(given: str, output_dir: str | Path = "outputs") -> tuple[Path, Path]:
    """Where what a user names may lie: at this path, or below ``output_dir``. UserError if no
    folder can be called so."""
    if any(len(os.fsencode(part)) > LONGEST_PART for part in Path(given).parts):
        hint = f"The name of a folder has at most {LONGEST_PART} characters."
        raise UserError(f"there is no run {shortened(given)}", hint)
    return expanded(given), expanded(output_dir) / given


def _runs_in(folder: Path) -> str:
    """A hint that names the runs in a folder, the first ten of many."""
    found = sorted(p.parent for p in folder.glob("*/config.yaml") if not p.parent.is_symlink())
    runs = [p for p in found if not _is_own(p)]
    more = f" and {len(runs) - 10:,} more" if len(runs) > 10 else ""
    return f"Runs in it: {', '.join(map(str, runs[:10]))}{more}." if runs else ""


def _is_own(path: Path) -> bool:
    """Whether this process has begun the run in a folder, which has nothing yet that it could look
    for: who mistyped the name of another run did not mean this one."""
    run = RunFolder(path)
    return not run.checkpoints.exists() and run.status().get("process") == os.getpid()


def _holds_only_own(folder: Path) -> bool:
    """Whether a folder is there for that run alone."""
    inside = list(folder.glob("*"))
    return bool(inside) and all(map(_is_own, inside))


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is a single checkpoint (and not a whole run)."""
    return (path / "state.json").is_file() and (path / "model.safetensors").is_file()


def run_of_checkpoint(path: Path) -> Path:
    """The run that a folder belongs to: itself, or the run around a single checkpoint."""
    run = path.parent.parent
    if path.parent.name == "checkpoints" and (run / "config.yaml").is_file():
        return run
    if not is_checkpoint(path):
        return path
    raise UserError(f"{path} is a single checkpoint, not a run that could go on")
