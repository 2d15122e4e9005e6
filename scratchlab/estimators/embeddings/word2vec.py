"""word2vec: skip-gram and CBOW with negative sampling (Mikolov et al. 2013a, 2013b)."""

from __future__ import annotations

from dataclasses import dataclass

from scratchlab.estimators.embeddings.sampled import SampledEstimator, SampledOptions
from scratchlab.registry import option, register


@register(
    "estimator",
    "skipgram",
    tasks=("word_vectors",),
    needs=("numba",),
    extra="embeddings",
    loss="nats per place",
    exports=("word2vec", "word2vec_binary"),
    begins_with=("vectors",),
    outputs="word_arithmetic",
)
class SkipGram(SampledEstimator):
    """Skip-gram with negative sampling: a word predicts the words around it."""

    @dataclass(frozen=True)
    class Config(SampledOptions):
        """Options of skip-gram."""

    from_word = True


@register(
    "estimator",
    "cbow",
    tasks=("word_vectors",),
    needs=("numba",),
    extra="embeddings",
    loss="nats per place",
    exports=("word2vec", "word2vec_binary"),
    begins_with=("vectors",),
    outputs="word_arithmetic",
)
class CBOW(SampledEstimator):
    """Continuous bag of words with negative sampling: the mean of a context predicts its word."""

    @dataclass(frozen=True)
    class Config(SampledOptions):
        """Options of CBOW."""

        learning_rate: float = option(0.2, "at the start; it falls evenly to nothing", above=0)
        negatives: int = option(5, "noise words drawn for each place of the text", min=1, max=1000)

    from_word = False
