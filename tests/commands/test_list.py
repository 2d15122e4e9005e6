"""``list`` shows the values that a choice gives, not those that the code would take without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchlab.commands.list import choices, given, main
from scratchlab.config.compose import compose
from scratchlab.config.origin import config_folders
from scratchlab.errors import ConfigError, UserError


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
