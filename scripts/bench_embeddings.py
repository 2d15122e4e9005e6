"""Word vectors beside gensim's in one run: words a second and WordSim-353, same text and settings.

    python scripts/bench_embeddings.py [--threads 2] [--epochs 5] [--models skipgram cbow fasttext]

Reads text8_prefix/text8_prefix.txt.gz and word_eval/wordsim353_combined.csv under $SCRATCHLAB_DATA.
Both learn vectors of 100 dimensions from a window of 5, min_count 5, sub-sampling 1e-3; noise words
and learning rates are each program's defaults. Words are raw ones: all of the text, whether they
are left out, thinned out or learned from, times the epochs. What is done once is timed on neither
side: reading, the vocabulary, compiling. Results compare on an idle machine only.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.estimators.embeddings.fasttext import FastText
from scratchlab.estimators.embeddings.sampled import SampledEstimator
from scratchlab.estimators.embeddings.text import Text
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.estimators.embeddings.word2vec import CBOW, SkipGram
from scratchlab.evaluation.words.similarity import cosine, measured
from scratchlab.evaluation.words.word_sets import read_pairs

OURS: dict[str, type[SampledEstimator]] = {"skipgram": SkipGram, "cbow": CBOW, "fasttext": FastText}
LINE = 10_000  # words of a line, which is what gensim cuts a long text into
GOALS = {"skipgram": 1.5, "cbow": 1.2, "fasttext": 1.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--buckets", type=int, default=2_000_000, help="FastText's, of both")
    arguments = parser.parse_args()
    root = Path(os.environ.get("SCRATCHLAB_DATA", "."))
    with gzip.open(root / "text8_prefix/text8_prefix.txt.gz", "rt") as file:
        words = file.read().split()
    lines = [words[i : i + LINE] for i in range(0, len(words), LINE)]
    pairs = read_pairs(root / "word_eval/wordsim353_combined.csv")
    print(f"{len(words):,} raw words, {arguments.epochs} epochs, {arguments.threads} threads")
    print(
        f"{'model':10}{'program':12}{'raw words/s':>14}{'WordSim-353':>13}{'pairs':>7}{'ratio':>8}"
    )
    for name in arguments.models:
        theirs = None
        for program, run in (("gensim", gensims), ("scratchlab", ours)):
            speed, vectors = run(name, lines, arguments)
            found = [(p.judged, c) for p in pairs if (c := cosine(vectors, p)) is not None]
            judged, cosines = np.array(found).T
            score = measured(judged, cosines, len(pairs), len(found), "", "skip").value
            ratio = f"{speed / theirs:.2f}" if theirs else ""
            print(f"{name:10}{program:12}{speed:14,.0f}{score:13.3f}{len(found):7}{ratio:>8}")
            theirs = theirs or speed
        print(f"{'':10}goal: {GOALS[name]} times gensim's words a second")


def ours(name: str, lines: list[list[str]], arguments: Any) -> tuple[float, WordVectors]:
    options = {"buckets": arguments.buckets} if name == "fasttext" else {}
    kind: Any = OURS[name]
    model = kind(epochs=arguments.epochs, threads=arguments.threads, random_state=1, **options)
    kind(epochs=1, threads=1, min_count=1).fit([["to", "be", "compiled"]])
    text = Text.from_sentences(lines)
    model.start(text)
    started = time.perf_counter()
    model.fit_epochs(text, None, resume=True)
    seconds = time.perf_counter() - started
    found = model.vectors()  # without FastText's for unseen words: both are asked the same pairs
    speed = sum(map(len, lines)) * arguments.epochs / seconds
    return speed, WordVectors(found.words, found.matrix)


def gensims(name: str, lines: list[list[str]], arguments: Any) -> tuple[float, WordVectors]:
    from gensim import models

    options = {"bucket": arguments.buckets} if name == "fasttext" else {}
    kind = models.FastText if name == "fasttext" else models.Word2Vec
    model = kind(
        vector_size=100, window=5, min_count=5, sample=1e-3, negative=5, sg=int(name != "cbow"),
        workers=arguments.threads, seed=1, **options,
    )  # fmt: skip
    model.build_vocab(lines)
    started = time.perf_counter()
    model.train(lines, total_examples=model.corpus_count, epochs=arguments.epochs)
    seconds = time.perf_counter() - started
    return (
        sum(map(len, lines)) * arguments.epochs / seconds,
        WordVectors(model.wv.index_to_key, model.wv.vectors),
    )


if __name__ == "__main__":
    main()
