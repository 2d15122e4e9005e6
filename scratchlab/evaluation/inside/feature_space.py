"""The space of features before and after a model in two dimensions: PCA and t-SNE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from scratchlab.evaluation.contract import EvaluationContext, Evaluator, Measurement
from scratchlab.evaluation.outputs.predictions import ROWS_AT_ONCE, array_dataset
from scratchlab.figures.style import head, new_figure, style
from scratchlab.models.contract import Model
from scratchlab.registry import option, register

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register(
    "evaluator",
    "feature_space",
    tasks=("classification", "reconstruction"),
    measures={"neighbours_alike": "higher", "neighbours_alike_input": "higher"},
    data=("rows",),
)
class FeatureSpace(Evaluator):
    """Draw the inputs and the model's features (its code) in 2-D, coloured by class.

    PCA is linear and keeps distances; t-SNE (van der Maaten & Hinton 2008) keeps neighbours. The
    measurement ``neighbours_alike`` is the share of rows whose nearest row in the features (in
    ``neighbours_alike_input``: in the inputs) is of the same class.
    """

    @dataclass(frozen=True)
    class Config:
        rows: int = option(800, "rows that are drawn", min=20)
        perplexity: float = option(30.0, "t-SNE: about how many neighbours count", above=1)

    config: Config

    def evaluate(self, context: EvaluationContext) -> list[Measurement]:
        if context.quick:
            return []
        dataset = array_dataset(context)
        X, y = dataset.rows(context.split)
        rng = np.random.default_rng(context.seed)
        kept = np.sort(rng.permutation(len(X))[: self.config.rows])
        X, y = X[kept].astype(np.float32), y[kept]
        spaces = {"input": X}
        features = self._features(context, X)
        if features is not None:
            spaces["features of the model"] = features
        context.sink.figure("feature_space", self._figure, context, spaces, y)
        result = [self._alike("neighbours_alike_input", X, y)]
        if features is not None:
            result.append(self._alike("neighbours_alike", features, y))
        return result

    def _figure(
        self, context: EvaluationContext, spaces: dict[str, NDArray[Any]], y: NDArray[Any]
    ) -> Figure:
        places = {
            (name, how): self._flat(space, how, context.seed % 2**32)
            for name, space in spaces.items()
            for how in ("PCA", "t-SNE")
        }
        title = f"{len(y):,} rows of {context.split}"
        return space_figure(places, y, context.dataset.spec.class_names, title)

    def _alike(self, name: str, X: NDArray[Any], y: NDArray[Any]) -> Measurement:
        from sklearn.neighbors import NearestNeighbors

        nearest = NearestNeighbors(n_neighbors=1).fit(X).kneighbors(return_distance=False)[:, 0]
        return Measurement(name, float(np.mean(y[nearest] == y)), n=len(y))

    @torch.no_grad()
    def _features(self, context: EvaluationContext, X: NDArray[Any]) -> NDArray[Any] | None:
        model = context.model
        if not isinstance(model, Model):
            return None
        shape = context.dataset.spec.image_shape or (X.shape[1],)
        found = []
        for first in range(0, len(X), ROWS_AT_ONCE):
            rows = torch.from_numpy(X[first : first + ROWS_AT_ONCE])
            features = model.features(rows.view(len(rows), *shape).to(context.device))
            if features is None:
                return None
            found.append(features.cpu())
        return torch.cat(found).numpy()

    def _flat(self, X: NDArray[Any], how: str, seed: int) -> NDArray[Any]:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE

        if how == "PCA":
            return PCA(2, random_state=seed).fit_transform(X)
        close = min(self.config.perplexity, (len(X) - 1) / 3)
        # 50 components keep what neighbours depend on and halve the time
        reduced = PCA(min(50, *X.shape), random_state=seed).fit_transform(X)
        return TSNE(2, perplexity=close, init="pca", random_state=seed).fit_transform(reduced)


@style()
def space_figure(
    places: dict[tuple[str, str], NDArray[Any]],
    y: NDArray[Any],
    names: Sequence[str],
    title: str,
) -> Figure:
    """A panel for each space (down) and way of flattening (across), one colour a class."""
    import matplotlib

    rows = len(places) // 2
    figure, axes = new_figure(rows, 2, height=70 + 420 * rows)
    palette = matplotlib.colormaps["tab10" if len(names) <= 10 else "turbo"]
    for axis, ((name, how), points) in zip(axes.flat, places.items(), strict=True):
        for label in range(len(names)):
            own = y == label
            colour = palette(label if len(names) <= 10 else label / (len(names) - 1))
            axis.scatter(
                points[own, 0], points[own, 1], s=7, color=colour, linewidths=0, alpha=0.75
            )
            if own.any():  # the name stands among its points: ten colours cannot all be told apart
                x, z = np.median(points[own], axis=0)
                axis.text(x, z, names[label][:12], fontsize=8, fontweight="bold", ha="center",
                          bbox={"facecolor": "white", "alpha": 0.7, "pad": 1,
                                "edgecolor": colour})  # fmt: skip
        axis.set_title(f"{how} of the {name}")
        axis.set_xlabel("component 1" if how == "PCA" else "t-SNE 1")
        axis.set_ylabel("component 2" if how == "PCA" else "t-SNE 2")
        axis.set_xticks([])
        axis.set_yticks([])
    head(figure, f"Feature space: {title}")
    return figure
