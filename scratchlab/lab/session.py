"""A run folder opened, locked, logged, and closed with how it ended: done, failed or stopped."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from scratchlab.config.root import FOLDER_KEYS
from scratchlab.errors import Stopped, UserError
from scratchlab.evaluation.contract import Measurement
from scratchlab.registry import build
from scratchlab.regular_files import expanded
from scratchlab.reporting.results import write_results
from scratchlab.reporting.tables import results_notes, results_table, write_table
from scratchlab.run.folder import RunFolder
from scratchlab.run.phases import Phases, in_a_line
from scratchlab.run.record import Record, log_file, record_failure
from scratchlab.tracking.contract import Tracker
from scratchlab.tracking.guard import Trackers
from scratchlab.training.memory import memory_advice
from scratchlab.training.profiling import TRACE, Profile

LOGGER = logging.getLogger("scratchlab")


@dataclass
class Session:
    """What a command does in a run folder: ``resumed``, the run in it goes on."""

    folder: RunFolder
    config: dict[str, Any]
    tracker: Trackers
    resumed: bool
    record: Record
    phases: Phases

    def begin(self) -> None:
        """From here on the command is right: it may be the latest one, and changes what is there.

        Not earlier: a command with a mistake in it must not take the place of another.
        """
        self.folder.point_latest()
        self.record.begun = True

    def warn(self, text: str) -> None:
        LOGGER.warning(text)
        self.tracker.message(f"warning: {text}")

    def profiled(self, profile: Profile) -> None:
        """Write and show where the time of training went."""
        for table in profile.tables():
            write_table(self.folder.path / "tables", table.file_name, table.columns, table.rows)
            self.tracker.table(table.title, table.columns, table.rows)
        self.tracker.message(f"trace for chrome://tracing or Perfetto: {self.folder.path / TRACE}")

    def results(self, title: str, found: list[Measurement]) -> None:
        """Write what was measured, and show it, and where the time went."""
        write_results(self.folder.path, found)
        self.tracker.table(title, *results_table(found))
        for note in results_notes(found):
            self.tracker.remark(note)
        took = in_a_line(self.phases.so_far())
        LOGGER.info("took %s", took)
        self.tracker.message(f"took {took}")


def open_folder(config: dict[str, Any]) -> tuple[RunFolder, bool]:
    """A new folder, or the one to go on with, and whether it is that."""
    output_dir, run_id = config["output_dir"], config["run_id"]
    if config["resume"] is True:
        path = expanded(output_dir) / config["name"] / run_id
        if (path / "config.yaml").is_file():
            return RunFolder.open(path), True
        return RunFolder.create(output_dir, config["name"], run_id, resume=True), False
    return RunFolder.create(output_dir, config["name"], run_id), False


@contextmanager
def session(
    folder: RunFolder,
    config: dict[str, Any],
    words: Sequence[str],
    command: Sequence[str],
    *,
    resumed: bool = False,
    keep: bool = True,
    trackers: Sequence[str] | None = None,
    watchers: Sequence[Tracker] = (),
    phases: Phases | None = None,
) -> Iterator[Session]:
    """Inside, ``command`` fills ``folder``; only these ``trackers`` of the configuration are told,
    and ``watchers``. ``phases`` is the clock of the command, if that was started before.

    Unless it is to be kept, a folder with nothing in it goes where the command was a mistake.
    """
    started, phases = time.perf_counter(), phases or Phases()
    refused = False
    folder.lock()
    try:
        with log_file(folder.log):
            if resumed:
                saved = folder.config()
                config = config | {k: saved[k] for k in FOLDER_KEYS if k in saved}
            LOGGER.info("command: scratchlab %s", " ".join(command))
            with record_failure(folder) as record:  # from the first file on: a signal may come
                record.begun = not resumed
                if not resumed:
                    folder.write_config(config, list(words))
                folder.write_status("running", process=os.getpid())
                chosen = config["tracker"]
                names = [name for name in chosen if trackers is None or name in trackers]
                built = [build("tracker", chosen[name]) for name in names]
                tracker = Trackers([*built, *watchers], phases)
                ended = "failed"
                try:
                    with memory_advice(config):
                        yield Session(folder, config, tracker, resumed, record, phases)
                        tracker.flush()  # a run whose metrics cannot be written is not done
                        seconds = round(time.perf_counter() - started, 1)
                        folder.write_status("done", seconds=seconds)
                        LOGGER.info("done")
                    ended = "done"
                except (Stopped, KeyboardInterrupt):
                    ended = "stopped"
                    raise
                finally:
                    tracker.finish(ended)
    except UserError as error:
        refused = not keep and error.exit_code == 2
        raise
    finally:
        folder.unlock()
        if refused:
            folder.remove_untouched()
