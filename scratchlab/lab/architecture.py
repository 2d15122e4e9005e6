"""What the weights that training starts from decide of the configuration: the options of the model
that its tensors follow from, and the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scratchlab.config.check import check
from scratchlab.config.overrides import key_of
from scratchlab.config.reading import read_json, require
from scratchlab.data.tokenizers.files import FILE
from scratchlab.errors import ConfigError, UserError
from scratchlab.lab.foreign import FORMATS, foreign_architecture, foreign_files
from scratchlab.lab.vectors import is_of_vectors, vectors_file
from scratchlab.lab.weights import checkpoint_folder
from scratchlab.run.checkpoint import read_state
from scratchlab.run.folder import find_run, read_config

# Options of a model that its tensors follow from; the last is the length of learned positions.
DECIDED = {
    "gpt": (
        *("d_model", "n_heads", "n_layers", "d_ff", "positions", "bias", "tie_embeddings"),
        *("activation", "qk_norm", "value_embeddings", "residual_scalars", "logit_softcap"),
        *("output", "cutoffs", "block_size"),
    ),
    "text_encoder": (
        *("d_model", "n_heads", "n_layers", "d_ff", "norm", "norm_eps", "embedding_norm"),
        *("positions", "segments", "activation", "max_length"),
    ),
}
TOKENIZER = ("tokenizer", "checkpoint", "vocab_size", "min_frequency")
Decided = dict[str, dict[str, Any]]


def with_architecture(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration with what ``init_from`` decides. Where that is not to be found nothing is
    changed: it may not be needed any more, and who needs it says so.

    Raises:
        UserError: the overrides say otherwise, or it was made for another model.
    """
    if config["init_from"] is None or config["model"]["name"] not in FORMATS:
        return config
    if vectors_file(config):  # they decide nothing: what does not fit is said
        return config
    try:
        files = foreign_files(config)
        run = None if files else find_run(config["init_from"], config["output_dir"])
        place = files.folder if files else checkpoint_folder(run, "best") if run else None
    except UserError:
        return config
    assert place is not None
    if run and is_of_vectors(read_config(run / "config.yaml")):
        return config
    decided = _by_folder(config, place, files.name) if files else _by_run(config, place)
    given = {key_of(word) for word in overrides}
    changed = dict(config)
    for section, values in decided.items():
        own = config[section]
        for name, value in values.items():
            key = f"{section}.{name}"
            if key in given and name in own and own[name] != value:
                raise UserError(
                    f"{key}={own[name]}: the checkpoint {place} has {value}",
                    f"Leave {key} out: what training starts from says it.",
                )
        changed[section] = {**own, **{n: v for n, v in values.items() if n in own}}
    complete, faults = check(changed)
    if faults:
        raise ConfigError([replace(f, where=f"{place}: {f.where}") for f in faults])
    return complete


def _by_folder(config: Mapping[str, Any], folder: Path, name: str) -> Decided:
    """What a folder of another program decides, which a person calls ``name``."""
    tokens: dict[str, Any] = {"tokenizer": "pretrained", "checkpoint": name}
    if (folder / FILE).is_file():  # exported here, with the vocabulary in our own form
        kind = require(read_json(folder / FILE), {"kind": "str"}, FILE)["kind"]
        tokens = tokens if kind == "pretrained" else {"tokenizer": kind}
    return {
        "model": foreign_architecture(config["model"]["name"], folder),
        "dataset": tokens if _reads_tokens(config) else {},
    }


def _by_run(config: Mapping[str, Any], checkpoint: Path) -> Decided:
    """What a checkpoint of another run decides."""
    name, before = config["model"]["name"], read_config(checkpoint / "config.yaml")
    model, dataset = before.get("model") or {}, before.get("dataset") or {}
    if model.get("name") != name:
        raise UserError(
            f"init_from: {checkpoint} holds a {model.get('name')}, not a {name}",
            f"Start from a run of model={name}, or choose model={model.get('name')}.",
        )
    found = {option: model[option] for option in DECIDED[name] if option in model}
    longest = DECIDED[name][-1]
    if found.get(longest) is None:  # the run's data decided
        spec = require(read_state(checkpoint), {"spec?": {"max_length?": "int | None"}}, checkpoint)
        found[longest] = (spec.get("spec") or {}).get("max_length")
    # (other kinds of text name their tokenizers in ways of their own)
    asked = TOKENIZER if name == "text_encoder" and _reads_tokens(config) else ()
    return {"model": found, "dataset": {o: dataset[o] for o in asked if o in dataset}}


def _reads_tokens(config: Mapping[str, Any]) -> bool:
    return "tokenizer" in config["dataset"]
