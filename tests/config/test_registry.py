"""Options are read from sources, inherited ones as well, whatever their classes are called."""

from __future__ import annotations

from pathlib import Path

from scratchlab import registry

PART = """
from dataclasses import dataclass
from scratchlab.registry import option, register
from scratchlab.data.sets.images import Digits, NoisyDigits as Spoilt
from scratchlab.training.updates.schedules import *
from torch import nn

@dataclass(frozen=True)
class Base:
    mine: int = option(1, "an option of its own", min=0)

@register("dataset", "a")
class A(nn.Module):
    @dataclass(frozen=True)
    class Config(Base, Digits.Config):
        strength: float = option(0.1, "another default")

@register("dataset", "b")
class B:
    @dataclass(frozen=True)
    class Config(Spoilt.Config, nn.Module):
        pass
"""


def test_options_are_inherited_from_any_imported_class_of_the_package(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PART)
    found = {part.name: part for part in registry._read_file(path, "mine", "dataset")}
    digits = registry.parts("dataset")["digits"]
    a, b = found["a"].defaults(), found["b"].defaults()
    assert a == {"mine": 1, **digits.defaults(), "strength": 0.1} and "noise_seed" in a
    assert b == {**digits.defaults(), "noise": "gaussian"}
    assert found["a"].rules == digits.rules != ()
