"""A trained model in the format of another program (``export=hf``, ``export=ctranslate2`` …)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchlab.errors import UserError
from scratchlab.lab.parts import Parts
from scratchlab.tracking.contract import Tracker


def check_export(parts: Parts, config: Mapping[str, Any]) -> None:
    """UserError, before anything is trained or measured, if the model cannot be exported."""
    apart = [m.registered_name for m in parts.adapted.methods if not m.mergeable]
    if config["export"] and apart:
        raise UserError(
            f"export: what {' and '.join(apart)} did cannot be merged into the model's weights",
            "Export the run that the methods were applied to.",
        )
    if config["export"]:
        from scratchlab.models.formats.exporting import check_exportable

        check_exportable(parts.model, config["export"], parts.dataset)


def export(folder: Path, parts: Parts, config: Mapping[str, Any], tracker: Tracker) -> None:
    """Write the model as it is in the format that ``config`` asks for, if it does."""
    if not config["export"]:
        return
    from scratchlab.models.formats.exporting import export_model, remarks

    model, form = parts.adapted.merged(), config["export"]
    path = export_model(model, parts.dataset, form, folder / "export")
    tracker.message(f"exported to {path}")
    for remark in remarks(model, parts.dataset, form, path):
        tracker.message(f"note: {remark}")
