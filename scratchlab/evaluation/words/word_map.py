"""A map of words: their vectors in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.errors import UserError
from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.words.word_sets import form_in, vectors_of
from scratchlab.figures.style import colour, label_text, new_figure, style
from scratchlab.registry import option, register

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)])
"""Where a word may stand beside its point, the first choices first."""


@register("evaluator", "word_map", tasks=("word_vectors",), measures={})
class WordMap(Evaluator):
    """Draw words in two dimensions, by t-SNE (keeps neighbours) or PCA (keeps distances)."""

    @dataclass(frozen=True)
    class Config:
        words: list[str] = option([], "words to draw; none: the most frequent ones")
        count: int = option(120, "words that are drawn where none are named", min=5, max=1000)
        method: str = option("tsne", "tsne or pca", choices=("tsne", "pca"))

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        vectors = vectors_of(context)
        wanted = [form_in(vectors, w) for w in self.config.words]
        words = [w for w in wanted if w in vectors.numbers]
        if not wanted:
            long = [w for w in vectors.words if len(w) >= 3] or vectors.words
            words = long[: self.config.count]
        if len(words) < 3:
            raise UserError(f"word_map: {len(words)} of the words have vectors, too few for a map")
        rows = vectors.directions[[vectors.numbers[w] for w in words]]
        places = flat(rows, self.config.method, context.seed % 2**32)
        left_out = len(wanted) - len(words) if wanted else 0
        method = self.config.method
        context.sink.figure("word_map", map_figure, words, places, method, left_out)
        return []


def flat(rows: NDArray[Any], method: str, seed: int) -> NDArray[Any]:
    """Rows [n, d] in two dimensions."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method == "pca":
        return PCA(2, random_state=seed).fit_transform(rows)
    perplexity = min(15.0, (len(rows) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)


@style()
def map_figure(
    words: Sequence[str], places: NDArray[Any], method: str, left_out: int = 0
) -> Figure:
    """Words written where they lie; axes have no unit, only nearness means something."""
    figure, axes = new_figure(1, 1, height=760)
    axis = axes[0][0]
    axis.scatter(places[:, 0], places[:, 1], s=7, color=colour(1))
    axis.margins(0.08)
    name = "t-SNE" if method == "tsne" else "PCA"
    axis.set_xlabel(f"{name}, first dimension (no unit)")
    axis.set_ylabel("second dimension (no unit)")
    more = f", {left_out} unknown ones left out" if left_out else ""
    axis.set_title(f"{len(words)} words by their vectors ({name}{more})")
    figure.draw_without_rendering()  # from here on places are known in pixels
    figure.set_layout_engine("none")
    _write(axis, [label_text(word, 18) for word in words], places)
    return figure


def _write(axis: Any, words: Sequence[str], places: NDArray[Any]) -> None:
    """Each word at the side of its point where it covers least of points and of words before it."""
    figure = axis.figure
    spots = axis.transData.transform(np.asarray(places, dtype=float))  # pixels
    gap = 3 * figure.dpi / 72
    taken = [np.hstack([spots - gap / 2, spots + gap / 2])]  # left, bottom, right, top
    for word, place, spot in zip(words, np.asarray(places).tolist(), spots, strict=True):
        text = axis.annotate(word, place, xytext=(0, 0), textcoords="offset pixels", fontsize=7.5)
        box = text.get_window_extent()
        size = np.array([box.width, box.height])
        corners = spot + gap * SIDES + size * (SIDES - 1) / 2  # [sides, 2]: left, bottom
        boxes = np.hstack([corners, corners + size])
        others = np.vstack(taken)
        shared = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(
            boxes[:, None, :2], others[None, :, :2]
        )
        covered = shared.clip(min=0).prod(2).sum(1)
        side = int(covered.argmin())
        text.set_position(tuple(corners[side] - spot))
        taken.append(boxes[side : side + 1])
