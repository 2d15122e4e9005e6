"""Word vectors beside gensim's in one run: words a second and WordSim-353, same text and settings.

    python scripts/bench_embeddings.py [--threads 2] [--epochs 5] [--rounds 3] [--quick]
                                       [--models skipgram cbow fasttext] [--record [FOLDER]]

Reads text8_prefix/text8_prefix.txt.gz and word_eval/wordsim353_combined.csv under $SCRATCHLAB_DATA.
Both learn vectors of 100 dimensions from a window of 5, min_count 5, sub-sampling 1e-3; noise words
and learning rates are each program's defaults. Words are raw ones: all of the text, whether they
are left out, thinned out or learned from, times the epochs. What is done once is timed on neither
side: reading, the vocabulary, compiling. Both take turns; results compare on an idle machine only.
"""

from __future__ import annotations

import gzip
import time
from typing import Any

import numpy as np
from bench_report import Spread, bench_parser, data_file, documentation, measuring

from scratchlab.estimators.embeddings.fasttext import FastText
from scratchlab.estimators.embeddings.sampled import SampledEstimator
from scratchlab.estimators.embeddings.text import Text
from scratchlab.estimators.embeddings.vectors import WordVectors
from scratchlab.estimators.embeddings.word2vec import CBOW, SkipGram
from scratchlab.evaluation.words.similarity import cosine, measured
from scratchlab.evaluation.words.word_sets import Pair, embedded_pairs, read_pairs

OURS: dict[str, type[SampledEstimator]] = {"skipgram": SkipGram, "cbow": CBOW, "fasttext": FastText}
LINE = 10_000  # words of a line, which is what gensim cuts a long text into


def main() -> None:
    parser = bench_parser(__doc__, threads=False)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="times that both are trained")
    parser.add_argument("--models", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--buckets", type=int, default=2_000_000, help="FastText's, of both")
    with measuring(parser, ["gensim"]) as (options, report):
        if options.quick:
            options.epochs, options.rounds, options.buckets = 1, 1, 10_000
            words, pairs = [word for line in documentation() for word in line], embedded_pairs()
        else:
            with gzip.open(data_file("text8_prefix/text8_prefix.txt.gz"), "rt") as file:
                words = file.read().split()
            pairs = read_pairs(data_file("word_eval/wordsim353_combined.csv"))
        lines = [words[i : i + LINE] for i in range(0, len(words), LINE)]
        title = f"{len(words):,} raw words, {options.epochs} epochs, {options.threads} threads"
        columns = ("raw words/s ↑", "similarity ↑", "pairs", "× gensim")
        with report.table(title, "model", "program", *columns) as table:
            for name in options.models:
                runs: dict[str, list[Any]] = {"gensim": [], "scratchlab": []}
                for _ in range(options.rounds):
                    runs["gensim"].append(gensims(name, lines, options))
                    runs["scratchlab"].append(ours(name, lines, options))
                theirs = Spread(speed for speed, _ in runs["gensim"])
                for program, made in runs.items():
                    speed = Spread(speed for speed, _ in made)
                    scores, known = zip(*(similarity(v, pairs) for _, v in made), strict=True)
                    times = None if program == "gensim" else float(speed) / float(theirs)
                    table.row(name, program, speed, Spread(scores), known[0], times)


def similarity(vectors: WordVectors, pairs: list[Pair]) -> tuple[float, int]:
    """Spearman's correlation over the pairs that are known, and how many those are."""
    found = [(p.judged, c) for p in pairs if (c := cosine(vectors, p)) is not None]
    judged, cosines = np.array(found).T
    return measured(judged, cosines, len(pairs), len(found), "", "skip").value, len(found)


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
