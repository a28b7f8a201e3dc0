"""``adhere export``: a run's models and responses in the form that other tools take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from adhere.evaluation.report.files import read_plan

from adhere.evaluation.export import Format, export
from adhere.rewards.errors import ConfigError

FORMATS: tuple[Format, ...] = get_args(Format)


def export_run(run: Path, fmt: Format, to: Path | None) -> list[Path]:
    """Export every evaluated model of ``run`` into ``to/<model>``; return the files written.

    A model is named after its stage, a GRPO model of several arms after its arm; where arms differ in SFT or base,
    theirs are ``sft-<arm>`` and ``base-<arm>``.

    Raises:
        ConfigError: ``run`` is not the folder of a run, or trained no model to export as ``hf``.
        DataError: its evaluation is not finished.
    """
    if not (run / "plan.json").exists():
        raise ConfigError(f"{run}: is not the folder of a run (it has no plan.json); runs are below runs/")
    content = read_plan(run)
    stages = {stage["key"]: stage for stage in content["stages"]}
    artifacts = run.resolve().parent / "artifacts"
    written: list[Path] = []
    exported: set[str] = set()
    for arm, subjects in content["subjects"].items():
        for subject, key in subjects.items():
            if key in exported or (fmt == "hf" and subject == "base"):
                continue
            exported.add(key)
            stage = stages[key]
            name = _name(content["subjects"], arm, subject)
            model = artifacts / stages[stage["inputs"]["model"]]["artifact"] / "model" if stage["inputs"] else None
            written += export(artifacts / stage["artifact"], fmt, (to or run / "export" / fmt) / name, model=model)
    if not exported:
        raise ConfigError(f"{run}: evaluated no model to export as {fmt}; name a run that trained and evaluated one")
    return written


def _name(subjects: Mapping[str, Mapping[str, str]], arm: str, subject: str) -> str:
    if subject == "grpo":
        return arm if len(subjects) > 1 else subject
    return subject if len({found.get(subject) for found in subjects.values()}) == 1 else f"{subject}-{arm}"
