"""Exports read back by the programs that they are for."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.data.contract import ArrayBatch
from scratchlab.errors import UserError
from scratchlab.estimators.embeddings.base import WordEstimator
from scratchlab.estimators.embeddings.files import read_vectors
from scratchlab.estimators.ngrams.model import NGram
from scratchlab.lab.export import check_export
from scratchlab.lab.parts import Parts, Trained, build_parts
from scratchlab.lab.weights import Weights
from scratchlab.verifying.findings import DoesNotApply, Finding, Tolerance, gap_of, judged
from scratchlab.verifying.outputs import few, of_batch
from scratchlab.verifying.storing import stirred
from scratchlab.verifying.subject import EXAMPLES, OUTPUTS, Subject

DECIMALS = Tolerance(1e-6, "an ARPA file holds seven decimals")


def exported(subject: Subject) -> Iterator[Finding]:
    """The model, or the adapter that was trained on it, as another program computes it."""
    parts = subject.parts
    folder = subject.folder / "exported"
    try:
        if not subject.estimator and parts.adapted.exporting:
            yield adapter(subject, parts, folder)
            return
        yield READERS[_format(parts)](subject, parts, folder)
    finally:
        subject.take()  # merged into the weights, or stirred


def _format(parts: Parts) -> str:
    """The first format that has a place for the model."""
    from scratchlab.models.formats.exporting import FORMATS, OWNERS

    refusals = []
    for form in (form for form in FORMATS if isinstance(parts.model, OWNERS[form])):
        try:
            check_export(parts, {"export": form})
        except UserError as error:
            refusals.append(error.message)
        else:
            return form
    raise DoesNotApply(refusals[0] if refusals else "no other program has a format for it")


def _needed(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise DoesNotApply(f"{package} is not installed, which would read the file")


def _write(parts: Parts, form: str, folder: Path) -> Path:
    from scratchlab.models.formats.exporting import export_model

    return export_model(parts.adapted.merged(), parts.dataset, form, folder)


def by_transformers(subject: Subject, parts: Trained, folder: Path) -> Finding:
    """Logits of the class of transformers that the export is for."""
    _needed("transformers")
    import torch
    import transformers

    from scratchlab.data.sources.pretrained_files import quiet_transformers
    from scratchlab.models.formats import bert
    from scratchlab.models.gpt import GPT

    quiet_transformers()
    batch = next(iter(few(parts, subject.split, OUTPUTS))).to(parts.device)
    tokens = batch.inputs if isinstance(batch, ArrayBatch) else batch.tokens
    more: dict[str, Any] = {}
    kind = "AutoModelForCausalLM"
    if not isinstance(parts.model, GPT):
        kind = bert.kind_of(parts.model)
        more["attention_mask"] = tokens != parts.dataset.spec.pad_id
    if kind == "BertModel":
        raise DoesNotApply("no class of transformers has these classes: it gives hidden states")
    expected = of_batch(parts, batch)
    path = _write(parts, "hf", folder)
    theirs = getattr(transformers, kind).from_pretrained(path, local_files_only=True).eval()
    with torch.no_grad():
        found = theirs.to(parts.device)(input_ids=tokens, **more).logits
    one = gap_of("logits", expected, found)
    return judged("read by transformers", "logits", one, subject.tolerance())


def by_ctranslate2(subject: Subject, parts: Trained, folder: Path) -> Finding:
    """Log-probabilities of the right words, as CTranslate2 computes them."""
    _needed("ctranslate2")
    import ctranslate2
    import torch

    model, dataset = parts.model, parts.dataset  # type: Any, Any
    batch = next(iter(few(parts, subject.split, OUTPUTS))).to("cpu")
    pairs = dataset.spec.task == "seq2seq"
    targets = batch.target_out if pairs else batch.tokens[:, 1:]
    given = (batch.source, batch.target_in) if pairs else (batch.tokens[:, :-1],)
    path = str(_write(parts, "ctranslate2", folder))
    with torch.no_grad():
        log_p = model.cpu()(*given).float().log_softmax(-1).gather(2, targets[..., None])[..., 0]
    if not pairs:
        tokens = dataset.tokenizer.tokens
        reader = ctranslate2.Generator(path, compute_type="float32")
        found = reader.score_batch([[tokens[i] for i in row] for row in batch.tokens.tolist()])
        real = torch.ones_like(targets, dtype=torch.bool)
    else:
        real = targets != dataset.spec.pad_id
        texts = [
            [[names[i] for i in row if i not in (dataset.spec.pad_id, dataset.spec.eos_id)]
             for row in ids.tolist()]
            for names, ids in ((dataset.source_tokenizer.tokens, batch.source),
                               (dataset.target_tokenizer.tokens, targets))
        ]  # fmt: skip
        reader = ctranslate2.Translator(path, compute_type="float32")
        found = reader.score_batch(*texts)
    theirs = torch.tensor([p for row in found for p in row.log_probs])
    one = gap_of("log-probabilities", log_p[real], theirs)
    return judged("read by CTranslate2", "log-probabilities", one, subject.tolerance())


def by_kenlm(subject: Subject, parts: Trained, folder: Path) -> Finding:
    """Log-probabilities of KenLM."""
    _needed("kenlm")
    import kenlm

    from scratchlab.models.formats.exporting import arpa_words

    dataset: Any = parts.dataset
    model: NGram = parts.model
    tokens, offsets = dataset.sentences(subject.split)
    offsets = offsets[: EXAMPLES + 1]
    quiet = kenlm.Config()
    quiet.show_progress, quiet.arpa_complain = False, kenlm.ARPALoadComplain.NONE
    reader = kenlm.Model(str(_write(parts, "arpa", folder)), quiet)
    words = arpa_words(dataset.tokenizer.tokens)
    found = [
        word[0]
        for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        for word in reader.full_scores(" ".join(words[i] for i in tokens[first:last].tolist()))
    ]
    expected = model.score_tokens(tokens[: offsets[-1]], offsets).log10_probs
    one = gap_of("log-probabilities", expected, np.array(found))
    return judged("read by KenLM", "log-probabilities", one, DECIMALS)


def by_word2vec(subject: Subject, parts: Trained, folder: Path) -> Finding:
    """Vectors of a file in word2vec's format, read by gensim where it is installed."""
    model: WordEstimator = parts.model
    path = _write(parts, "word2vec", folder)
    expected = model.vectors()
    if importlib.util.find_spec("gensim") is None:
        reader, found = "our reader", read_vectors(path).matrix
    else:
        from gensim.models import KeyedVectors

        reader, read = "gensim", KeyedVectors.load_word2vec_format(str(path))
        found = np.stack([read[word] for word in expected.words])
    one = gap_of("vectors", expected.matrix.astype(np.float32), found)
    return judged(f"read by {reader}", "vectors", one)


READERS = {
    "hf": by_transformers,
    "ctranslate2": by_ctranslate2,
    "arpa": by_kenlm,
    "word2vec": by_word2vec,
}


def adapter(subject: Subject, parts: Trained, folder: Path) -> Finding:
    """Outputs of the model without its adapter, to which peft puts the one that was written."""
    _needed("peft")
    if parts.adapted.refusal is not None:
        raise DoesNotApply(f"no adapter is written: {parts.adapted.refusal}")
    stirred(parts.model)
    batch = next(iter(few(parts, subject.split, OUTPUTS))).to(parts.device)
    expected = of_batch(parts, batch)
    parts.adapted.save_files(folder)
    found = read_by_peft(base_of(parts), folder / "adapter", batch)
    one = gap_of("outputs", expected, found)
    return judged("adapter read by peft", "outputs", one, subject.tolerance())


def base_of(parts: Parts) -> Parts:
    """The model that an adapter was trained on, without it. Quantized layers become plain ones of
    the same numbers, since peft does not know those of this project."""
    base, adapted = parts.adapted.base, parts.adapted
    start = Weights.of(Path(base["checkpoint"])) if base and base["kind"] == "run" else None
    left = {key: parts.config["method"][key] for key in parts.config["method"]}
    for key, method in zip(list(left), adapted.methods, strict=True):
        if method in adapted.exporting:
            del left[key]
    plain = build_parts({**parts.config, "method": left, "init_from": None}, None, start)
    put_floats(plain.model)
    plain.model.eval()
    return plain


def put_floats(model: Any) -> None:
    """Plain linear layers in the place of quantized ones."""
    from torch import nn

    from scratchlab.methods.quantized import QuantizedLinear
    from scratchlab.methods.replace import replace_module

    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedLinear):
            layer = nn.Linear(module.in_features, module.out_features, module.bias is not None)
            layer.weight.data = module.dequantize()
            if module.bias is not None:
                layer.bias.data = module.bias.detach()
            replace_module(model, name, layer)


def read_by_peft(plain: Parts, folder: Path, batch: Any) -> Any:
    """The outputs for a batch after peft has put an adapter into ``plain``."""
    import torch

    for library in ("peft", "bitsandbytes"):  # the first imports the second, which tells of kernels
        logging.getLogger(library).setLevel(logging.ERROR)
    import peft

    model = plain.model
    inner = getattr(model, "inner", model)
    settings = peft.PeftConfig.from_pretrained(str(folder))
    if settings.is_prompt_learning and inner is model:
        raise DoesNotApply("peft puts a prompt before models of transformers only")
    heads = [n for n in getattr(settings, "modules_to_save", None) or () if not hasattr(inner, n)]
    for name in heads:  # of this project's, around the library's model
        setattr(inner, name, getattr(model, name))
    theirs = peft.PeftModel.from_pretrained(inner, str(folder)).eval()
    for name in heads:
        setattr(model, name, getattr(inner, name))
    if not settings.is_prompt_learning:
        return of_batch(plain, batch)
    tokens = batch.tokens
    with torch.no_grad():
        logits = theirs(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
    return logits[:, -tokens.shape[1] :]
