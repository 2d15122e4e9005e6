"""What a sweep ends in: its table, its pictures, and the best configuration as an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scratchlab.errors import CannotWrite, UserError
from scratchlab.reporting.results import arithmetic
from scratchlab.reporting.search import Search, Tried, write_trials
from scratchlab.reporting.search_pictures import write_pictures
from scratchlab.studies.runs import StudyFolder, unlike_data
from scratchlab.studies.sweep.best_config import write_best
from scratchlab.studies.sweep.plan import Sweep
from scratchlab.studies.sweep.space import point_words
from scratchlab.tracking.console import print_table

SHOWN_ROWS = 20


def write_report(
    sweep: Sweep,
    trials: Sequence[Tried],
    folder: StudyFolder,
    say: Callable[[str], None],
    importance: Mapping[str, float] | None = None,
) -> None:
    """Write and show how the trials went."""
    options = sweep.options
    runs = {t.run: [folder.path / (t.run + r.suffix) for r in sweep.repeats] for t in trials}
    notes = [sweep.note] if sweep.note else []
    notes += arithmetic(runs)
    if len(sweep.repeats) > 1:
        of = "folds" if not options.seeds else "runs" if options.folds else "seeds"
        notes.append(f"mean ± standard deviation of {len(sweep.repeats)} {of}")
    search = Search(
        folder.path.name,
        options.chosen,
        options.better,
        [d.key for d in sweep.dimensions],
        trials,
        frozenset(d.key for d in sweep.dimensions if d.log),
        frozenset(d.key for d in sweep.dimensions if d.finite),
        importance,
        notes,
    )
    columns, rows = write_trials(folder.path, search)
    write_pictures(folder.path, search)
    more = f" (of {len(rows)}; all in tables/trials.md)" if len(rows) > SHOWN_ROWS else ""
    print_table(f"{folder.path.name}: trials{more}", columns, rows[:SHOWN_ROWS], notes=notes)
    ranked = search.ranked()
    if ranked:
        _write_best(sweep, ranked, folder, say)
        first = runs[ranked[0].run][0]
        if first.is_dir():  # else another machine has it
            _draw(first, say)
            _write_page(folder.path, first.name, say)
    for name in unlike_data(path for paths in runs.values() for path in paths):
        say(f"warning: {name} was made when the data had another content than for those before it")
    say(f"tables and pictures: {folder.path}")


def _write_best(
    sweep: Sweep, ranked: Sequence[Tried], folder: StudyFolder, say: Callable[[str], None]
) -> None:
    best = ranked[0]
    spread = "" if best.spread is None else f" ± {best.spread:.2g} ({len(best.values)} runs)"
    heading = (
        f"The best of {len(ranked)} trials of the sweep {folder.path.name}: "
        f"{sweep.options.chosen} {best.value:.6g}{spread}."
    )
    words = [*sweep.words, *point_words(sweep.dimensions, best.params)]
    configs, path = write_best(folder.path, words, heading, sweep.config_dir)
    say(f"best: {best.run}, written to {path}; train it with")
    say(f"  scratchlab train --config-dir {configs} experiment=best")


def _write_page(folder: Path, best: str, say: Callable[[str], None]) -> None:
    """The trials beside the best one as a page, made once when all have ended."""
    from scratchlab.reporting.report.page import write_study_page

    try:
        say(f"as a page: {write_study_page(folder, best)}")
    except CannotWrite:
        raise
    except UserError as error:
        say(f"warning: no page: {error}")


def _draw(run: Path, say: Callable[[str], None]) -> None:
    """The pictures of the best trial, where trials made none."""
    from scratchlab.lab.evaluate import draw_missing

    try:
        draw_missing(run)
    except Exception as error:  # the sweep is done all the same
        say(f"pictures of {run.name} could not be drawn: {error}")
