"""Pictures look alike wherever they are drawn."""

from __future__ import annotations

import matplotlib

from scratchlab.figures.style import STYLE, style


def test_settings_of_the_current_folder_change_no_picture() -> None:
    with matplotlib.rc_context({"text.usetex": True, "axes.linewidth": 9.0}):
        with style():
            assert matplotlib.rcParams["text.usetex"] is False
            assert matplotlib.rcParams["axes.linewidth"] == 0.8
            assert matplotlib.rcParams["grid.color"] == STYLE["grid.color"]
        assert matplotlib.rcParams["axes.linewidth"] == 9.0
