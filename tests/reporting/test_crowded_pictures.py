"""Pictures of many names: titles, ticks, legends and bands that stay where they can be read."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from scratchlab.evaluation.inside.ensemble import heat_map, votes_figure
from scratchlab.evaluation.rows.confusion_matrix import confusion_figure
from scratchlab.figures.bars import Bar, bars_figure
from scratchlab.figures.lines import lines_with_bands
from scratchlab.figures.scatter import Point, ScatterAxis, scatter_figure
from scratchlab.figures.style import TITLE_CHARACTERS
from scratchlab.reporting.comparison import Compared
from scratchlab.reporting.comparison_pictures import (
    curves_figure,
    line_over,
    write_table_lines,
)
from scratchlab.reporting.search import Search, Tried
from scratchlab.reporting.search_pictures import coordinates, grid, search_figures

TITLE = "A long name of a study over learning rates, schedules and optimizers of small models"
KEYS = ("model.activation_function", "a.long_group.option_name_of_many_words", "lr", "model.sizes")
NAMES = ("a_rather_long_name_of_an_activation", "relu", "gelu")


def trials(keys: tuple[str, ...], count: int = 30) -> Search:
    values = [(NAMES[i % 3], f"[{i}, {i}, 64, 64]", 0.1 * i, 2**i) for i in range(count)]
    tried = [
        Tried(f"t{i}", dict(zip(keys, values[i], strict=False)), i / count, "done")
        for i in range(count)
    ]
    return Search(TITLE, "val/accuracy", "higher", keys, tried, listed=frozenset(keys[:2]))


def apart(texts: list[Any]) -> bool:
    """Whether none of the texts, in their order along an axis, touches the next one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = texts[0].figure
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [t.get_window_extent(renderer) for t in texts if t.get_text()]
    return not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_titles_of_searches_and_scatters_stand_on_lines_that_the_picture_has_room_for() -> None:
    axes = ScatterAxis("memory_size", "bytes", "lower"), ScatterAxis("perplexity", "", "lower")
    figures = [scatter_figure([Point("a", 1, 2), Point("b", 2, 3)], *axes, TITLE)]
    figures += search_figures(trials(KEYS[:2])).values()
    for figure in (*figures, *search_figures(trials((KEYS[0], "lr"))).values()):
        title: Any = figure._suptitle  # type: ignore[attr-defined]
        assert max(map(len, title.get_text().split("\n"))) <= TITLE_CHARACTERS
        figure.draw_without_rendering()
        box = title.get_window_extent()
        assert box.x1 < figure.bbox.x1
        for axis in figure.axes:
            assert axis.bbox.height > 100  # pixels: what stands around it leaves it room
            legend = axis.get_legend()
            assert legend is None or not legend.get_window_extent().overlaps(box)


def test_titles_of_the_evaluators_own_pictures_stand_on_lines_as_well() -> None:
    votes = np.eye(2)[np.zeros((3, 4), dtype=int)]  # [members, rows, classes]
    figures = [
        confusion_figure(np.array([[3, 1], [0, 4]]), ["no", "yes"], TITLE),
        heat_map({"bagging": {5: 0.9}, "forest": {5: 0.95}}, "accuracy", TITLE),
        votes_figure(votes, np.zeros(4, dtype=int), True, "test"),
    ]
    for figure in figures:
        title: Any = figure._suptitle  # type: ignore[attr-defined]
        assert max(map(len, title.get_text().split("\n"))) <= TITLE_CHARACTERS
        figure.draw_without_rendering()
        assert title.get_window_extent().x1 < figure.bbox.x1
        assert figure.axes[0].bbox.height > 100


def test_names_at_the_lanes_of_a_search_do_not_touch() -> None:
    (axis,) = coordinates(trials(KEYS)).axes
    assert apart(list(axis.get_xticklabels()))
    for lane in range(len(KEYS)):
        marks = [t for t in axis.texts if getattr(t, "xy", (None,))[0] == lane]
        assert len(marks) > 1 and apart(marks)
        box = max(t.get_window_extent().x1 for t in marks)
        assert box < axis.transData.transform((lane + 1, 0))[0] + 8


def test_long_names_below_a_picture_are_slanted_and_short_ones_are_not() -> None:
    def angles(labels: list[Any]) -> set[float]:
        return {label.get_rotation() for label in labels}

    (axis,) = grid(trials(KEYS[:2], 9)).axes
    assert angles(axis.get_xticklabels()) == {35}
    names = [f"{2**i}-{2 ** (i + 1)} tokens" for i in range(12)]
    for x, angle in ((names, 35), (names[:3], 0)):
        line = line_over(x, [[0.5]] * len(x), 0, "accuracy")
        (axis,) = lines_with_bands({"one": line}, "length", "accuracy", TITLE).axes
        assert angles(axis.get_xticklabels()) == {angle}
        assert [t.get_text() for t in axis.get_xticklabels()] == x


def test_a_band_over_seeds_ends_where_the_score_does(tmp_path: Path) -> None:
    for name, scores in (("a", (1.0, 0.2)), ("b", (0.7, 0.9))):
        lines = [
            {"step": i, "val/accuracy": v, "val/loss": v, "val/r2": v}
            for i, v in enumerate(scores, 1)
        ]
        (tmp_path / name).mkdir()
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "metrics.jsonl").write_text(text)
    row = Compared("one", (tmp_path / "a", tmp_path / "b"))

    def reach(name: str) -> tuple[float, float]:
        figure = curves_figure("x", [row], name)
        assert figure is not None
        ys = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]  # type: ignore[index]
        return round(float(ys.min()), 3), round(float(ys.max()), 3)

    assert reach("val/accuracy") == (0.055, 1.0)
    assert reach("val/loss") == (0.055, 1.062) == reach("val/r2")
    assert line_over([1], [[0.01, 0.5]], 0, "perplexity").band == [(0.0, 0.255 + 0.49 / 2**0.5)]
    assert (line_over([1], [[0.01, 0.5]], 0, "r2").band or [(0, 0)])[0][0] < 0
    assert (line_over([1], [[-1.0, 2.0]], 0, "loss").band or [(0, 0)])[0][0] < -1  # it has no bound


def test_the_lines_of_a_table_keep_all_places_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "tables").mkdir(parents=True)
    with (folder / "tables/by_length.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("length", "accuracy"), ("1-4", 0.5), ("5-8", 0.25)])
    assert write_table_lines(tmp_path, TITLE, [Compared("one", (folder,))], "by_length")
    assert (tmp_path / "plots/by_length.png").is_file()


def test_bars_keep_their_room_below_a_long_title_and_above_a_remark() -> None:
    bars = [Bar("a", 0.9, 0.85, 0.95, 0.93), Bar("b", 0.8, 0.75, 0.85)]
    figure = bars_figure(bars, "accuracy", TITLE, "whiskers: 95 % interval " * 8)
    figure.draw_without_rendering()
    assert figure.axes[0].bbox.height > 80
