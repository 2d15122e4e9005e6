"""``list`` shows the values that a choice gives, not those that the code would take without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchlab.commands.list import choices, given, main
from scratchlab.config.compose import compose
from scratchlab.config.origin import config_folders
from scratchlab.errors import ConfigError, UserError
from scratchlab.studies.prepared import prepared


@pytest.mark.parametrize("group", ["model", "method"])
def test_every_option_is_listed_with_the_value_that_the_choice_gives(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder, *_) = config_folders(None)
    for name in choices()[group]:
        values, _ = given(folder / group / f"{name}.yaml", group)
        words = [f"{group}={name}"] + (["model=gpt"] if group != "model" else [])
        try:
            config = compose(words).config[group]
        except ConfigError:
            continue  # needs more words than this one
        config = config[name] if group == "method" else config
        assert {k: config[k] for k in values} == values, name
        assert main([group, name]) == 0
        said = capsys.readouterr().out
        if group == "model" and "positions" in config:
            assert f"model.positions={config['positions']} " in said


def test_list_says_what_else_a_choice_sets(capsys: pytest.CaptureFixture[str]) -> None:
    main(["model", "gpt"])
    said = capsys.readouterr().out
    assert "model.positions=rotary " in said
    assert "model=gpt also sets: dataset=python_docs" in said
    assert "optimizer.lr=0.002" in said and "evaluator=[perplexity,size]" in said


def test_list_reads_folders_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model" / "wide.yaml"
    path.parent.mkdir()
    path.write_text("# @package _global_\n# A wide one.\nmodel:\n  name: gpt\n  d_model: 512\n")
    main(["model", "--config-dir", str(tmp_path)])
    assert "A wide one" in capsys.readouterr().out
    main(["model", "wide", "--config-dir", str(tmp_path)])
    assert "model.d_model=512 " in capsys.readouterr().out
    with pytest.raises(UserError, match="is no folder"):
        main(["model", "--config-dir", str(tmp_path / "nowhere")])


def test_list_tells_how_long_what_is_prepared_takes_and_which_data_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, suite = tmp_path / "own/experiment", tmp_path / "own/suite"
    experiment.mkdir(parents=True)
    suite.mkdir()
    (experiment / "mine.yaml").write_text(
        "# @package _global_\n# A run of mine.\n# takes: a week\ndefaults:\n  - shakespeare_char\n"
    )
    (suite / "several.yaml").write_text(
        "description: several\ntakes: a month\noverrides: [model=gpt]\n"
        "runs:\n  a: {}\n  b: {overrides: [dataset=wikitext2]}\n  c: {eval: b}\n"
    )
    (suite / "embedded.yaml").write_text("description: x\nruns:\n  a: {overrides: [model=gpt]}\n")
    monkeypatch.setenv("SCRATCHLAB_DATA", str(tmp_path))
    main(["--config-dir", str(tmp_path / "own")])
    said = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()
            if line.strip()}  # fmt: skip
    assert said["mine"] == "mine a week tiny_shakespeare: no, hub only"
    assert said["several"] == "several a month wikitext2: no, hub only"
    assert said["embedded"] == "embedded data here"
    assert said["embeddings"].endswith("text8_prefix/text8_prefix.txt.gz: no")
    assert said["positions_mt"].endswith("data here")


def test_every_packaged_suite_and_experiment_says_how_long_it_takes() -> None:
    for group in ("experiment", "suite"):
        found = prepared(group, choices()[group])
        assert all(one.takes and one.datasets for one in found), found
