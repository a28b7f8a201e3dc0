"""Exports of a run: every model once, under a name of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from adhere.records.plan import ModelRecord, Plan, StageRecord, write_plan
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError, DataError
from adhere.rewards.files import write_json
from adhere.train.run.export import export_run


def a_run(root: Path, models: dict[str, str]) -> Path:
    """Write a finished run: ``models`` maps names in its tables to an evaluation's key; models hold a config alone."""
    stages: list[StageRecord] = []
    for key in set(models.values()):
        trained = f"model-of-{key}"
        model = root / "artifacts" / trained / "model"
        model.mkdir(parents=True)
        (model / "config.json").write_text("{}", encoding="utf-8")
        inputs = {} if key == "base" else {"model": trained}
        stages += [
            StageRecord(trained, "grpo", "grpo", trained, trained, {}, ("run",)),
            StageRecord(key, "evaluate", "evaluate", key, key, inputs, ("run",)),
        ]
        write_json(root / "artifacts" / key / "results.json", {"evaluation": key})
    made = {name: None if key == "base" else name for name, key in models.items()}
    records = tuple(ModelRecord(name, "run", "evaluate", made[name], key) for name, key in models.items())
    write_plan(RunFolder(root / "run").plan_file, Plan(tuple(stages), records))
    return root / "run"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_arms_that_share_sft_export_it_once_and_the_base_not_at_all(tmp_path: Path) -> None:
    run = a_run(tmp_path, {"base": "base", "sft": "s", "math_only": "g1", "composite": "g2"})
    export_run(run, "hf", None)
    assert names(run / "export" / "hf") == ["composite", "math_only", "sft"]


def test_arms_with_an_sft_each_keep_both(tmp_path: Path) -> None:
    models = {"sft[short]": "s-short", "sft[long]": "s-long", "short": "g-short", "long": "g-long"}
    run = a_run(tmp_path, models)
    written = export_run(run, "hf", tmp_path / "out")
    assert names(tmp_path / "out") == ["long", "sft-long", "sft-short", "short"]
    assert {path.parent.name for path in written} == {"long", "sft-long", "sft-short", "short"}
    assert "s-long" in (tmp_path / "out" / "sft-long" / "results.json").read_text(encoding="utf-8")


def test_a_run_without_a_trained_model_or_results_says_so(tmp_path: Path) -> None:
    run = a_run(tmp_path, {"base": "base"})
    with pytest.raises(ConfigError, match="evaluated no model to export as hf"):
        export_run(run, "hf", None)
    (tmp_path / "artifacts" / "base" / "results.json").unlink()
    with pytest.raises(DataError, match="name the folder of a finished evaluation"):
        export_run(run, "lm-eval", None)
