"""Runs whose figures have different units stand in one table and are not drawn side by side."""

from __future__ import annotations

from pathlib import Path

from scratchlab.evaluation.contract import Measurement
from scratchlab.reporting.comparison import Compared, write_comparison
from scratchlab.reporting.results import write_results


def test_a_figure_of_another_unit_than_the_heading_says_so_and_gets_no_bar(tmp_path: Path) -> None:
    rows = []
    for name, unit in (("subwords", "per token"), ("letters", "per character")):
        run = tmp_path / name
        run.mkdir()
        shared = Measurement("bits_per_character", 1.5, "", "lower")
        write_results(run, [Measurement("perplexity", 20.5, unit, "lower"), shared])
        rows.append(Compared(name, [run]))
    write_comparison(tmp_path, "both", rows)
    table = (tmp_path / "tables/comparison.md").read_text().splitlines()
    assert "perplexity (per token) ↓" in table[0]
    cells = [[cell.strip() for cell in line.split("|")] for line in table[2:]]
    assert "20.50" in cells[0] and "20.50 per character" in cells[1]
    assert not (tmp_path / "plots/bars_perplexity.png").exists()
    assert (tmp_path / "plots/bars_bits_per_character.png").exists()
