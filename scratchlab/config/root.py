"""The options of a run that belong to no part."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scratchlab.registry import Option, option, read_options

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,-]*")
"""What a run and its name may be called."""

LONGEST_NAME = 200
"""Characters: file systems take 255 bytes, and names are made longer (of sweeps, of temporary
files)."""


FOLDER_KEYS = ("output_dir", "name", "run_id", "resume")
"""Where a run lies: its own for good, however the command that goes on with it names it."""

NO_MATTER = (
    *(*FOLDER_KEYS, "accept_changed_data", "description"),
    "pictures",
    *("threads", "keep_memory", "cache_dir"),  # these in the last bits at most
)
"""What results do not depend on: a run need not be made again for it, nor can a sweep vary it."""


@dataclass(frozen=True)
class Config:
    """Top-level keys of a configuration."""

    name: str = option("", "name of the run's folder: outputs/<name>/<run_id>")
    run_id: str | None = option(None, "folder of this run; null makes one of the date and time")
    output_dir: str = option("outputs", "where run folders are made")
    resume: bool | str = option(False, "go on with run_id if it exists, or with the run named here")
    accept_changed_data: bool = option(
        False, "go on with a run although its data have another content now (this once)"
    )
    init_from: str | None = option(
        None,
        "run or checkpoint whose weights and vocabulary training starts from (model=gpt and "
        "text_encoder: also GPT-2's and BERT's, as a folder, minilm, a name of the hub); or word "
        "vectors that the words begin with: a run that learned them, or a file (word2vec's text "
        "or binary format, GloVe's)",
        path="name",
    )
    seed: int = option(0, "seed of everything random", min=0)
    threads: int | None = option(None, "CPU threads; null takes all cores", min=1, max=1024)
    device: str = option(
        "auto",
        "where to compute; auto takes a GPU if there is one",
        choices=("auto", "cpu", "cuda", "mps"),
    )
    deterministic: bool = option(
        True, "same command, same machine, same bits (can cost speed on a GPU)"
    )
    keep_memory: bool = option(
        True, "keep freed memory for the next step: faster on a CPU, but holds more than it needs"
    )
    data_dir: str | None = option(
        None, "folder of data files; null takes $SCRATCHLAB_DATA", path="folder"
    )
    cache_dir: str | None = option(
        None, "prepared data; null takes ~/.cache/scratchlab", path="folder"
    )
    evaluate: bool = option(True, "run the evaluators after training")
    evaluate_split: str = option("test", "split that the evaluators measure")
    evaluate_checkpoint: str = option("best", "checkpoint that is measured: best, last or step-N")
    pictures: bool = option(
        True, "draw curves and what evaluators show; a sweep of estimators does so for its best"
    )
    export: str | None = option(
        None,
        "write the measured checkpoint for other programs too: hf (Hugging Face: model=gpt as "
        "GPT-2, text_encoder as BERT), ctranslate2 (model=gpt, transformer_mt), arpa "
        "(model=ngram), word2vec or word2vec_binary (word vectors)",
        choices=("hf", "ctranslate2", "arpa", "word2vec", "word2vec_binary"),
    )
    description: str = option("", "what this run is for, in a line")


def root_options() -> tuple[Option, ...]:
    """The declared top-level options."""
    return read_options(Path(__file__), "Config")
