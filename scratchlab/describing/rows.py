"""What a person wants to know of a table or of images: statistics, balance, correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchlab.data.kinds.rows import RowsDataset
from scratchlab.figures.style import colour, head, label_text, new_figure, style
from scratchlab.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_FEATURES = 20  # in the picture of correlations
MOST_HISTOGRAMS = 32
HISTOGRAM_NAME = 20  # characters above a histogram
NOISE = 1e-12  # a mean this small beside the deviation is rounding
SAMPLES = 40
DIVERGING = "RdBu_r"


def describe_rows(dataset: RowsDataset) -> list[Table]:
    """Splits with the balance of classes, features, and what goes with the target."""
    tables = [_splits(dataset), _features(dataset)]
    if not dataset.spec.image_shape:
        tables.append(_correlations(dataset))
    return tables


def _used(dataset: RowsDataset) -> list[str]:
    return [s for s in dataset.splits if dataset.size(s)]


def _splits(dataset: RowsDataset) -> Table:
    spec, rows = dataset.spec, []
    for split in _used(dataset):
        y = dataset.raw.y[dataset.row_numbers[split]]
        if spec.n_classes:
            counts = np.bincount(y, minlength=spec.n_classes)
            shares = ", ".join(
                f"{name}: {count:,} ({count / len(y):.1%})"
                for name, count in zip(spec.class_names, counts.tolist(), strict=True)
            )
            present = counts[counts > 0]
            ratio = f"{present.max() / present.min():.1f} : 1"
            rows.append([split, f"{len(y):,}", shares, ratio])
        else:
            low, middle, high = np.percentile(y, (0, 50, 100))
            spread = f"{y.mean():.4g} ± {y.std():.4g}; {low:.4g} / {middle:.4g} / {high:.4g}"
            rows.append([split, f"{len(y):,}", spread])
    if spec.n_classes:
        unit = spec.unit + "s"
        columns = ["split", unit, f"{unit} of each class", "largest : smallest"]
    else:
        columns = ["split", "rows", "target: mean ± deviation; least / median / greatest"]
    title = f"splits and the target {dataset.raw.target_name!r}"
    return Table(title, columns, rows, "splits")


def _features(dataset: RowsDataset) -> Table:
    """Of all rows, before scaling."""
    raw = dataset.raw
    if raw.image_shape is not None:
        top = 255.0 if raw.X.dtype == np.uint8 else 1.0
        rows = [["all, as read", *_pixels(raw.X, top)]]
        seen = dataset.inputs("train")
        if not np.allclose(seen * top, raw.X[dataset.row_numbers["train"]], atol=1e-3):
            rows.append(["train, as models see them", *_pixels(seen, 1.0)])
        shape = " × ".join(map(str, raw.image_shape))
        return Table(
            f"pixels from 0 to 1 ({shape}: channels, height, width)",
            ["images", "mean", "deviation", "share that is 0"],
            rows,
            "pixels",
        )
    X = raw.X.astype(np.float64)
    missing = np.isnan(X).sum(axis=0)
    rows = [
        [
            name,
            _brief(float(np.nanmean(X[:, i])), float(np.nanstd(X[:, i]))),
            *(f"{f(X[:, i]):.5g}" for f in (np.nanstd, np.nanmin, np.nanmax, np.nanmedian)),
            f"{raw.missing.get(name, int(missing[i])):,}",  # of texts, too, where none is NaN
        ]
        for i, name in enumerate(raw.feature_names)
    ]
    columns = ["feature", "mean", "deviation", "least", "greatest", "median", "missing"]
    return Table("features, before scaling", columns, rows)


def _pixels(X: NDArray[Any], top: float) -> list[str]:
    return [f"{X.mean() / top:.4f}", f"{X.std() / top:.4f}", f"{(X == 0).mean():.1%}"]


def _brief(mean: float, deviation: float) -> str:
    return "0" if abs(mean) < NOISE * deviation else f"{mean:.5g}"


def _target_label(dataset: RowsDataset) -> str:
    """The target's name and what a greater value of it means."""
    names = dataset.spec.class_names
    if len(names) == 2:
        return f"{dataset.raw.target_name} = {names[1]}"
    return dataset.raw.target_name


def _has_order(dataset: RowsDataset) -> bool:
    """Whether more of the target means anything: of numbers and of two classes."""
    return not dataset.spec.n_classes or dataset.spec.n_classes <= 2


def _matrix(dataset: RowsDataset) -> tuple[list[str], NDArray[np.float64]]:
    """Pearson's correlations of all features and the target on train; of a target of several
    classes, whose numbers mean nothing, the correlation ratio of each feature instead."""
    X, y = dataset.rows("train")
    everything = np.column_stack([X.astype(np.float64), y])
    spread = everything.std(axis=0) > 0
    matrix = np.zeros((everything.shape[1],) * 2)
    matrix[np.ix_(spread, spread)] = np.corrcoef(everything[:, spread].T)
    if not _has_order(dataset):
        matrix[-1, :-1] = matrix[:-1, -1] = correlation_ratios(X.astype(np.float64), y)
    return [*dataset.spec.feature_names, _target_label(dataset)], matrix


def correlation_ratios(X: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.float64]:
    """Fisher's η of each feature of X [rows, features]: the root of the share of its variance that
    lies between the classes y [rows]. From 0 to 1; with two classes the size of Pearson's r."""
    total = X.var(axis=0)
    between = np.zeros(X.shape[1])
    for number in np.unique(y):
        of_class = X[y == number]
        between += len(of_class) / len(X) * (of_class.mean(axis=0) - X.mean(axis=0)) ** 2
    return np.sqrt(np.divide(between, total, out=np.zeros_like(total), where=total > 0))


def _correlations(dataset: RowsDataset) -> Table:
    names, matrix = _matrix(dataset)
    order = np.argsort(-np.abs(matrix[-1, :-1]), kind="stable")
    sign = "+" if _has_order(dataset) else ""
    rows = []
    for i in order.tolist():
        others = np.abs(matrix[i, :-1])
        others[i] = 0
        partner = int(others.argmax())
        rows.append(
            [names[i], f"{matrix[-1, i]:{sign}.3f}", f"{names[partner]} {matrix[i, partner]:+.3f}"]
        )
    title = f"correlation with {names[-1]!r} on train, strongest first"
    if not sign:
        title += " (classes have no order: the correlation ratio η, from 0 to 1)"
    return Table(
        title, ["feature", "with the target", "nearest other feature"], rows, "correlations"
    )


def picture_rows(dataset: RowsDataset) -> dict[str, Figure]:
    """Figures by file name."""
    figures = {"target": target_figure(dataset)}
    if dataset.spec.image_shape:
        figures["samples"] = samples_figure(dataset)
    else:
        figures["features"] = features_figure(dataset)
        figures["correlations"] = correlations_figure(dataset)
    return figures


@style()
def target_figure(dataset: RowsDataset) -> Figure:
    """Rows of each class in each split, or the histogram of the target."""
    spec = dataset.spec
    figure, ((axis,),) = new_figure(height=380)
    used = _used(dataset)
    if spec.n_classes:
        width = 0.8 / len(used)
        for number, split in enumerate(used):
            y = dataset.raw.y[dataset.row_numbers[split]]
            shares = np.bincount(y, minlength=spec.n_classes) / len(y)
            places = np.arange(spec.n_classes) + (number - (len(used) - 1) / 2) * width
            label = f"{split} ({len(y):,} {spec.unit}s)"
            axis.bar(places, shares, width * 0.92, color=colour(number), label=label)
        turned = any(len(n) > 6 for n in spec.class_names)
        labels = [label_text(name, 22) for name in spec.class_names]
        axis.set_xticks(
            range(spec.n_classes),
            labels,
            rotation=30 if turned else 0,
            ha="right" if turned else "center",
            rotation_mode="anchor",
        )
        axis.set_ylabel("share of the split")
        axis.grid(axis="x", visible=False)
        head(figure, f"{dataset.registered_name}: balance of the classes")
    else:
        values = [dataset.raw.y[dataset.row_numbers[s]] for s in used]
        labels = [f"{s} ({len(v):,} rows)" for s, v in zip(used, values, strict=True)]
        colours = [colour(i) for i in range(len(used))]
        axis.hist(values, 30, stacked=True, color=colours, label=labels)
        axis.set_ylabel("rows")
        head(figure, f"{dataset.registered_name}: the target")
    axis.set_xlabel(label_text(dataset.raw.target_name, 60))
    figure.legend(loc="outside lower center", ncols=len(used))
    return figure


@style()
def features_figure(dataset: RowsDataset) -> Figure:
    """A histogram of each feature before scaling."""
    raw = dataset.raw
    count = min(len(raw.feature_names), MOST_HISTOGRAMS)
    rows = -(-count // 4)
    figure, axes = new_figure(rows, 4, height=60 + 175 * rows, width=1000)
    for index, axis in enumerate(axes.flat):
        if index >= count:
            axis.set_visible(False)
            continue
        values = raw.X[:, index]
        axis.hist(values[~np.isnan(values)], 30, color=colour(0))
        name = label_text(raw.feature_names[index], HISTOGRAM_NAME)
        axis.set_title(name, fontsize=7.5, fontweight="normal")
        axis.tick_params(labelsize=7)
        axis.locator_params(axis="x", nbins=3)
        axis.locator_params(axis="y", nbins=3)
        if index % 4 == 0:
            axis.set_ylabel("rows", fontsize=8)
    shown = "" if count == len(raw.feature_names) else f" (first {count})"
    title = f"{dataset.registered_name}: {len(raw.feature_names)} features{shown}"
    head(figure, title)
    return figure


@style()
def correlations_figure(dataset: RowsDataset) -> Figure:
    """Correlations of the features (of many: those that go with the target most) and the target."""
    names, matrix = _matrix(dataset)
    if len(names) > MOST_FEATURES + 1:
        strongest = np.argsort(-np.abs(matrix[-1, :-1]), kind="stable")[:MOST_FEATURES]
        kept = [*sorted(strongest.tolist()), len(names) - 1]
        names, matrix = [names[i] for i in kept], matrix[np.ix_(kept, kept)]
    count = len(names)
    labels = [label_text(n, 22) for n in names]
    # The labels below and beside the cells take about 10 pixels a character.
    size = 70 + 36 * count + 10 * max(len(label) for label in labels)
    figure, ((axis,),) = new_figure(height=max(420, size), width=max(620, size + 110))
    image = axis.imshow(matrix, cmap=DIVERGING, vmin=-1, vmax=1)
    axis.set_xticks(range(count), labels, rotation=90)
    axis.set_yticks(range(count), labels)
    axis.grid(False)
    if count <= 16:
        for row, column in np.ndindex(count, count):
            value = matrix[row, column]
            shade = "white" if abs(value) > 0.6 else "black"
            text = f"{value:.1f}".replace("-0.0", "0.0")
            axis.text(column, row, text, ha="center", va="center", fontsize=6.5, color=shade)
    title = f"{dataset.registered_name}: correlations on train"
    if count <= len(dataset.spec.feature_names):
        title += f", the {count - 1} features nearest to the target"
    head(figure, title)
    bar = figure.colorbar(image, ax=axis, shrink=0.7)
    ratio = "" if _has_order(dataset) else " (with the target: correlation ratio η)"
    bar.set_label(f"Pearson's correlation{ratio}")
    bar.outline.set_visible(False)
    return figure


@style()
def samples_figure(dataset: RowsDataset) -> Figure:
    """Images of train as models see them, of all classes in turn."""
    X, y = dataset.inputs("train"), dataset.rows("train")[1]
    spec = dataset.spec
    shape: Any = spec.image_shape
    chosen: list[int] = []
    each = max(1, SAMPLES // max(spec.n_classes or 1, 1))
    for label in np.unique(y).tolist():
        chosen += np.flatnonzero(y == label)[:each].tolist()
    columns = min(10, len(chosen))
    rows = -(-len(chosen[:SAMPLES]) // columns)
    figure, axes = new_figure(rows, columns, height=60 + 112 * rows, width=1000)
    for index, axis in enumerate(axes.flat):
        axis.axis("off")
        if index >= len(chosen):
            continue
        image = X[chosen[index]].reshape(shape)
        shown = image[0] if shape[0] == 1 else np.moveaxis(image, 0, -1)
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if spec.class_names:
            name = spec.class_names[int(y[chosen[index]])]
            axis.set_title(
                label_text(name, 14), fontsize=8, fontweight="normal", loc="center", pad=2
            )
    title = f"{dataset.registered_name}: images of train, as models see them"
    head(figure, title)
    return figure
