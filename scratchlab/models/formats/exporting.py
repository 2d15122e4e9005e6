"""Trained models in the formats of other programs: Hugging Face, CTranslate2, ARPA, word2vec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.data.contract import Dataset
from scratchlab.data.kinds.running_text import RunningText
from scratchlab.data.tokenizers.hf_tokenizer import unwritable, write_hf_tokenizer
from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.base import WordEstimator
from scratchlab.estimators.embeddings.files import write_vectors
from scratchlab.estimators.ngrams.arpa import check_words
from scratchlab.estimators.ngrams.counts import MARKERS
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.models.formats import bert, ctranslate2, gpt2
from scratchlab.models.gpt import GPT
from scratchlab.models.text_encoder import TextEncoder
from scratchlab.models.transformer_mt import TransformerMT

FORMATS = {
    "hf": "gpt, text_encoder",
    "ctranslate2": "gpt, transformer_mt",
    "arpa": "ngram",
    "word2vec": "skipgram",
    "word2vec_binary": "skipgram",
}
OWNERS: dict[str, Any] = {
    "hf": (GPT, TextEncoder),
    "ctranslate2": (GPT, TransformerMT),
    "arpa": NGram,
    "word2vec": WordEstimator,
    "word2vec_binary": WordEstimator,
}
VECTOR_FILES = {"word2vec": "vectors.txt", "word2vec_binary": "vectors.bin"}
SAMPLE = 20_000  # tokens of a text that an exported tokenizer is compared on


def check_exportable(model: Any, form: str, dataset: Dataset) -> None:
    """UserError, before anything is trained, if the model cannot be written in this format."""
    if not isinstance(model, OWNERS[form]):
        raise UserError(
            f"export={form} is for model={FORMATS[form]}, not for this {type(model).__name__}",
            "Formats: " + ", ".join(f"{f} (model={m})" for f, m in FORMATS.items()) + ".",
        )
    if form == "ctranslate2":
        ctranslate2.check_convertible(model)
    elif isinstance(model, GPT):
        gpt2.check_convertible(model)
    elif isinstance(model, TextEncoder):
        bert.check_convertible(model)
    elif isinstance(model, NGram):
        if model.smoothing != "kneser_ney":
            raise UserError(
                f"export=arpa: an ARPA file holds Kneser-Ney models, not {model.smoothing}",
                "Train with model.smoothing=kneser_ney.",
            )
        check_words([*MARKERS, *_arpa_vocabulary(dataset)])


def _arpa_vocabulary(dataset: Dataset) -> list[str]:
    """The words that an ARPA file of a model of this data set would hold beside its own."""
    if dataset.tokenizer is None:
        return []
    text: Any = dataset
    numbers = np.unique(text.sentences("train")[0])
    words = arpa_words(dataset.tokenizer.tokens)
    return [words[i] for i in numbers.tolist() if i != dataset.spec.unk_id]


def export_model(model: Any, dataset: Dataset, form: str, folder: Path) -> Path:
    """Write ``model`` below ``folder``; returns the folder ``hf`` or ``ctranslate2``, or the file.

    Beside the weights for ``from_pretrained``, the folder ``hf`` holds the tokenizer for
    ``AutoTokenizer`` (where the library can follow it). Both folders hold the vocabulary in this
    project's own form: it makes tokens of texts, and ``init_from=FOLDER`` of ``hf`` works too.
    """
    check_exportable(model, form, dataset)
    if form == "ctranslate2":
        target = folder / "ctranslate2"
        target.mkdir(parents=True, exist_ok=True)
        ctranslate2.export_ctranslate2(model, target, dataset)
        dataset.save_vocabulary(target)
        return target
    if form == "hf":
        target = folder / "hf"
        target.mkdir(parents=True, exist_ok=True)
        spec = dataset.spec
        framed = isinstance(model, TextEncoder)
        if framed:
            bert.export_bert(model, target, spec)
        else:
            gpt2.export_gpt2(model, target, bos_id=spec.sos_id, eos_id=spec.eos_id)
        dataset.save_vocabulary(target)
        if dataset.tokenizer is not None and tokenizer_unwritable(dataset) is None:
            write_hf_tokenizer(dataset.tokenizer, target, model.block_size, framed=framed)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    if form in VECTOR_FILES:
        target = folder / VECTOR_FILES[form]
        write_vectors(target, model.vectors(), binary=form == "word2vec_binary")
        return target
    if model.words_ is None and dataset.tokenizer is not None:
        model.words_ = arpa_words(dataset.tokenizer.tokens)
    target = folder / "model.arpa"
    model.export_arpa(target)
    return target


def remarks(model: Any, dataset: Dataset, form: str, path: Path) -> list[str]:
    """What a person should know of what was exported."""
    if form == "ctranslate2":
        return ctranslate2.remarks(model)
    if form != "hf":
        return []
    found = []
    if isinstance(model, TextEncoder):
        kind = bert.kind_of(model)
        found.append(f"transformers reads it with {kind}.from_pretrained")
        if kind == "BertModel" and dataset.spec.task == "classification":
            found.append(
                f"it gives hidden states: no model of transformers tells classes from "
                f"model.pooling={model.config.pooling} (from cls with model.pooler=true one does)"
            )
    if dataset.tokenizer is not None and not (path / "tokenizer.json").exists():
        why = tokenizer_unwritable(dataset)
        found.append(f"no tokenizer for AutoTokenizer was written: {why}")
    return found


def tokenizer_unwritable(dataset: Any) -> str | None:
    """Why transformers cannot read the tokenizer of a data set; None if it can.

    That is tried out on every token and on the beginning of the training text.
    """
    tokenizer = dataset.tokenizer
    sample = tokenizer.decode(range(len(tokenizer)))
    if isinstance(dataset, RunningText):
        train = dataset.tokens("train")
        sample += tokenizer.decode(train.slice(0, min(SAMPLE, len(train))).tolist())
    return unwritable(tokenizer, sample)


def arpa_words(tokens: list[str]) -> list[str]:
    """The words of a vocabulary as an ARPA file may hold them: white space is made visible."""
    visible = {" ": "␣", "\n": "⏎", "\t": "⇥"}
    return ["".join(visible.get(c, c) for c in token) for token in tokens]
