"""What a checkpoint holds comes back as it was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scratchlab.run.checkpoint import Checkpoint, load, save


def test_arrays_of_an_estimator_keep_shape_type_and_order(tmp_path: Path) -> None:
    given = {
        "number": np.array(7),  # was a row of one number when it came back
        "flag": np.array(True),
        "row": np.arange(3.0, dtype=np.float32),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.zeros((0, 4)),
    }
    config = {"model": {"name": "mlp"}}
    save(tmp_path / "checkpoints", Checkpoint(given, {}, {"step": 1}, config))
    found = load(tmp_path / "checkpoints" / "last").model
    assert found.keys() == given.keys()
    for name, array in given.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        assert np.array_equal(found[name], array)
