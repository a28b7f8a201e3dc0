"""``adhere export``: a run's models and responses in the form that other tools take."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from adhere.evaluation.export import Format, export
from adhere.records.names import slug
from adhere.records.run import as_run
from adhere.rewards.errors import ConfigError

FORMATS: tuple[Format, ...] = get_args(Format)


def export_run(run: Path, fmt: Format, to: Path | None) -> list[Path]:
    """Export every evaluated model of ``run`` into ``to/<model>``; return the files written.

    A model's folder is named as the model is in the run's tables; ``sft[ARM]`` becomes ``sft-ARM``.

    Raises:
        ConfigError: ``run`` is not the folder of a run, or trained no model to export as ``hf``.
        DataError: an evaluation is not finished, or the plan is damaged.
    """
    folder = as_run(run)
    plan = folder.plan()
    written: list[Path] = []
    models = [model for model in plan.models if fmt != "hf" or model.model is not None]
    if not models:
        raise ConfigError(f"{run}: evaluated no model to export as {fmt}; name a run that trained and evaluated one")
    for found in models:
        stage = plan.stage(found.key)
        weights = folder.artifact(plan.stage(stage.inputs["model"])).model if stage.inputs else None
        to_folder = (to or folder.exports / fmt) / slug(found.name)
        written += export(folder.artifact(stage).path, fmt, to_folder, model=weights)
    return written
