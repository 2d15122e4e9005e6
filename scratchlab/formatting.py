"""How numbers and the names of metrics are written for people, alike in tables and in pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable

ARROWS = {"higher": "↑", "lower": "↓", "": ""}
# How metrics are written by their communities; other names are shown as they are registered.
TITLES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "chrf++": "chrF++",
    "rouge": "ROUGE",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "rougeLsum": "ROUGE-Lsum",
    "mrr": "MRR",
    "map": "MAP",
    "ndcg": "nDCG",
}
BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def title_of(metric: str) -> str:
    """``latency_p50`` → ``latency p50``, ``bleu`` → ``BLEU``, ``ndcg_at_10`` → ``nDCG@10``."""
    name, at, cutoff = metric.partition("_at_")
    if at:
        return f"{title_of(name)}@{cutoff}"
    return TITLES.get(metric, metric.replace("_", " "))


def decimals_of(values: Iterable[float], spreads: Iterable[float] = ()) -> int | None:
    """How many decimals numbers of one kind are shown with, so that they can be compared by eye.

    Four significant digits of the largest; more where the smallest would be left with less than
    three, or one of ``spreads`` with none. None: as each number asks for (they are tiny, or there
    are none).
    """
    found = [abs(float(v)) for v in values if math.isfinite(v)]
    if not found or max(found) >= 1e15:
        return None
    decimals = 0
    if not all(v.is_integer() for v in found):
        largest, smallest = max(found), min(v for v in found if v)
        if largest < 0.01:
            return None
        most = 0 if largest >= 1000 else min(4, 3 - math.floor(math.log10(largest)))
        least = min(4, max(0, 2 - math.floor(math.log10(smallest))))
        decimals = min(max(most, least), most + 2)
    for spread in spreads:
        while spread and decimals < 4 and round(abs(spread), decimals) == 0:
            decimals += 1
    return decimals


def format_measurement(
    value: float,
    spread: float | None,
    unit: str,
    ends: tuple[float, float] | None = None,
    decimals: int | None = None,
) -> tuple[str, str]:
    """What stands in the value column and in the unit column.

    Behind the value stands ``± spread``, or ``[low, high]`` where the interval has ``ends``.
    """
    if unit == "bytes":
        power = 0 if value < 1 else min(int(math.log(value, 1024)), len(BYTE_UNITS) - 1)
        scaled = value / 1024**power
        return (f"{scaled:.1f}" if power else f"{scaled:.0f}"), BYTE_UNITS[power]
    if decimals is None and spread is not None:
        decimals = decimals_of([value], [spread])
    shown = decimals is not None and math.isfinite(value)
    text = f"{value:z,.{decimals}f}" if shown else format_number(value)
    places = len(text.partition(".")[2]) if "e" not in text else None
    if ends is not None:
        text += " [{}, {}]".format(*(_as_exact(end, places) for end in ends))
    elif spread is not None:
        text += f" ± {_as_exact(spread, places)}"
    return text, unit


def _as_exact(number: float, places: int | None) -> str:
    return f"{number:.2e}" if places is None else f"{number:z,.{places}f}"


def format_number(value: float | None) -> str:
    """Four significant digits, thousands set apart, whole numbers whole; small ones as 0.00123."""
    if value is None:
        return ""
    number = float(value) + 0.0  # -0 is 0
    if not math.isfinite(number):
        return str(number)
    if abs(number) >= 1000 or number.is_integer():
        return f"{number:,.0f}" if abs(number) < 1e15 else f"{number:.4g}"
    if abs(number) < 0.01:
        return f"{number:.3g}"
    return f"{number:.{min(3 - math.floor(math.log10(abs(number))), 4)}f}"
