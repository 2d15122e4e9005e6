"""The command line: a verb, then what the verb takes. Imports nothing heavy."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from scratchlab import __version__
from scratchlab.errors import LOGGED_IN, Stopped, UserError, shortened, suggest
from scratchlab.run.interrupt import terminated_is_interrupted
from scratchlab.run.processes import Place, as_one_voice, only_first_speaks, place
from scratchlab.run.streams import ReaderLeft, lasting_streams

# verb -> (module of the command, what it is for)
VERBS: dict[str, tuple[str, str]] = {
    "train": ("train", "train a model and evaluate it:  scratchlab train model=transformer_mt"),
    "eval": ("eval", "evaluate a trained run:         scratchlab eval outputs/NAME/latest"),
    "sweep": ("sweep", "many runs over values of options: scratchlab sweep KEY=A,B …"),
    "suite": ("suite", "several runs and their comparison: scratchlab suite NAME"),
    "compare": ("compare", "runs beside each other, tested:  scratchlab compare RUN RUN …"),
    "report": ("report", "runs as a page to open and print: scratchlab report RUN RUN …"),
    "predict": ("predict", "use a trained run:              scratchlab predict RUN < lines.txt"),
    "verify": ("verify", "equal whatever must be equal:   scratchlab verify RUN"),
    "list": ("list", "what there is to choose from:   scratchlab list model"),
    "inspect": ("inspect", "layers, sizes and memory:       scratchlab inspect model=NAME"),
    "data": ("data", "data sets:                      scratchlab data list"),
    "exercise": ("exercise", "write a part yourself:          scratchlab exercise list"),
}

# Verbs whose results are files: they go on when nobody reads what they print.
FILLS_FOLDERS = ("train", "eval", "sweep", "suite", "report")

GUIDE = """
Options are KEY=VALUE; groups are GROUP=CHOICE (model, dataset, optimizer, experiment, …).
  scratchlab train experiment=NAME          a prepared run
  scratchlab train … --cfg job              show the whole configuration, run nothing
  scratchlab VERB --help                    more about one verb
  eval "$(scratchlab -sc install=bash)"     completion with Tab (also zsh, fish)
Data files are looked for below $SCRATCHLAB_DATA; runs are written to outputs/.
"""


def usage() -> str:
    """The text of ``scratchlab --help``."""
    lines = ["scratchlab: deep learning and NLP from scratch.", "", "usage: scratchlab VERB …", ""]
    lines += [f"  {verb:<9} {meaning}" for verb, (_, meaning) in VERBS.items()]
    return "\n".join(lines) + "\n" + GUIDE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 2 a mistake in the command, 130 stopped)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verb = working_verb(arguments)
    warnings.formatwarning = plain_warning
    here = Place()
    try:
        here = place()
        with (
            only_first_speaks(here),
            lasting_streams(output_needed=verb not in FILLS_FOLDERS, lossy=verb != "predict"),
        ):
            try:
                with terminated_is_interrupted():
                    require_one_process(verb, here)
                    return int(command(arguments[0] if arguments else "")(arguments[1:]))
            except (Exception, KeyboardInterrupt) as error:
                with as_one_voice(here, error):
                    code = told(error)
                if code is None:
                    raise
                return code
    except ReaderLeft:
        return 0
    except UserError as error:  # the last of the output could not be written
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def require_one_process(verb: str, here: Place) -> None:
    """UserError if torchrun has started several for something that is done once."""
    if here.count > 1 and verb != "train":
        raise UserError(
            f"{verb or 'this'} is done by one process, and torchrun has started {here.count}",
            "Start it without torchrun; only train shares its work.",
        )


def working_verb(arguments: Sequence[str]) -> str:
    """The verb that does the work: what follows ``exercise use FILE`` is another command."""
    if list(arguments[:2]) != ["exercise", "use"]:
        return arguments[0] if arguments else ""
    return arguments[3] if arguments[3:4] and arguments[3] in ("eval", "predict") else "train"


def command(verb: str) -> Callable[[Sequence[str]], int]:
    """What runs a verb: the entry of its module, which is imported now."""
    if verb in ("", "-h", "--help", "help"):
        return lambda _: _say(usage())
    if verb in ("-V", "--version", "version"):
        return lambda _: _say(f"scratchlab {__version__}")
    if verb in ("-sc", "--shell-completion"):
        from scratchlab.commands.completion import complete

        return lambda words: complete([verb, *words], list(VERBS))
    if verb.startswith("-"):
        known = ("--help", "--version", "--shell-completion")
        raise UserError(f"unknown flag {verb!r}", suggest(verb, known, "Flags before a verb"))
    if verb not in VERBS:
        raise UserError(f"there is no verb {verb!r}", suggest(verb, VERBS, "Verbs"))
    logging.getLogger("scratchlab").setLevel(logging.INFO)
    found: Any = importlib.import_module(f"scratchlab.commands.{VERBS[verb][0]}").main
    return found


def _say(text: str) -> int:
    print(text)
    return 0


def told(error: BaseException) -> int | None:
    """Say on standard error how a command ended; its exit code, or None if only a traceback tells.

    A traceback that a log holds is not repeated.
    """
    if isinstance(error, ReaderLeft):
        return None
    problem = error if isinstance(error, UserError) else of_the_system(error)
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        return problem.exit_code
    if isinstance(error, (Stopped, KeyboardInterrupt)):
        said = f"stopped by {error}" if isinstance(error, Stopped) else "interrupted"
        print(said, file=sys.stderr)
        return 130
    logged = next((n for n in vars(error).get("__notes__", []) if n.startswith(LOGGED_IN)), None)
    if logged is None:  # nowhere else could it be read
        return None
    first = (str(error).strip().splitlines() or [""])[0]
    print(f"error: {type(error).__name__}: {first}\n    {logged}", file=sys.stderr)
    return 1


def plain_warning(message: Warning | str, *place: Any, **more: Any) -> str:
    """A warning of a library in a line, without the place in its source."""
    return f"warning: {(str(message).strip().splitlines() or [''])[0]}\n"


def of_the_system(error: BaseException) -> UserError | None:
    """What a disk, a permission or a name has to do with an exception, if that is all."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    from scratchlab.run.atomic import ADVICE

    problem = ADVICE.get(error.errno or 0)
    path = shortened(str(error.filename), 300)
    return UserError(f"{path}: {problem[0]}") if problem is not None else None
