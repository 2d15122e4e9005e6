"""``scratchlab eval``: measure a trained run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from scratchlab.commands.trained import read_run
from scratchlab.config.overrides import key_of
from scratchlab.errors import UserError
from scratchlab.run.folder import RunFolder, is_checkpoint
from scratchlab.run.phases import Phases

HELP = """
usage: scratchlab eval RUN [GROUP=CHOICE …] [KEY=VALUE …]

RUN is a run folder (outputs/NAME/latest), NAME below outputs, or a checkpoint folder, which works
alone, wherever it was copied to. Without further words the run's own evaluators measure its test
split. Anything but the model may be exchanged:

  evaluate_split=val                      another split
  evaluate_checkpoint=last                another checkpoint (best, last, step-N)
  dataset=tatoeba_en_fr                   another data set (the run's vocabulary is kept)
  evaluator=[bleu,chrf] decoding=greedy   other evaluators, another search
  export=hf                               also write the model for transformers (model=gpt)
  export=ctranslate2                      or for CTranslate2 (model=gpt, transformer_mt)
  export=arpa                             or for KenLM and SRILM (model=ngram)

Results go to RUN/evaluations/<time>/ and to the screen (of a lone checkpoint, or where RUN cannot
be written, to evaluations/<time>/ here); the run's own results stay as they are.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry of the verb."""
    phases = Phases()
    given = read_run(arguments, HELP, "eval")
    if given is None:
        return 0
    if given.rest:
        raise UserError(f"{given.rest[0]!r} is no option", "Options are KEY=VALUE or GROUP=CHOICE.")
    for word in arguments[1:]:
        if key_of(word).partition(".")[0] in ("optimizer", "scheduler", "trainer"):
            print(f"note: {word} does nothing here: nothing is trained", file=sys.stderr)
    from scratchlab.lab.evaluate import evaluate
    from scratchlab.lab.session import open_folder

    own = not is_checkpoint(given.path) and os.access(given.path, os.W_OK)
    where: Path | RunFolder = given.path if own else Path.cwd()
    if "resume=true" in arguments:  # a folder of one's own: output_dir, name and run_id
        where, _ = open_folder(given.config)
    evaluate(given.config, given.path, where, ["eval", *arguments], phases)
    return 0
