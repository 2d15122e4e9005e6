"""The lesson of docs/first-hour.md: what it shows of counting is what counting gives."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from scratchlab.commands import predict, train

PAGE = (Path(__file__).resolve().parents[2] / "docs/first-hour.md").read_text(encoding="utf-8")
SHOWN = re.search(r"documentation of Python ([\d.]+)", PAGE)
CONSOLE = re.compile(r"^```console\n\$ (.*?)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def test_every_output_belongs_to_a_command_and_says_where_it_is_cut() -> None:
    blocks = CONSOLE.findall(PAGE)
    assert len(blocks) >= 10 and all("scratchlab" in command for command, _ in blocks)
    assert not re.search(r"/(tmp|home|root|work)/", PAGE)


@pytest.mark.slow
@pytest.mark.skipif(
    SHOWN is None or SHOWN[1] != platform.python_version(),
    reason="the text of the lesson is the documentation of another version of Python",
)
def test_counting_gives_the_perplexities_and_the_sentence_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    counted = [(c, o) for c, o in CONSOLE.findall(PAGE) if "ngram" in c]
    assert len(counted) == 3
    for command, output in sorted(counted, key=lambda block: "predict" in block[0]):
        words = command.split(maxsplit=2)[2]
        if "predict" in command:
            run, text, seed = re.fullmatch(r'(\S+) "(.*)" (\S+)', words).groups()  # type: ignore
            assert predict.main([str(next(Path(run).parent.glob("five"))), text, seed]) == 0
        else:
            run_id = "two" if "order=2" in words else "five"
            assert train.main([*words.split(), f"run_id={run_id}"]) == 0
        said = capsys.readouterr().out
        shown = [line for line in output.splitlines() if "perplexity ↓" in line] or [
            line for line in output.splitlines() if line != "…"
        ]
        for line in shown:
            assert " ".join(line.split()) in " ".join(said.split()), command
