"""The one ending of a run: comparison and cards from its folder, for the driver and the last job alike."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from report_run import write_ablation, write_run

from adhere.records.run import RunFolder
from adhere.train.run.finish import finish, main


def test_models_that_are_evaluated_are_compared_and_the_others_named(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert finish(RunFolder(run)) == []
    table = (run / "results.md").read_text(encoding="utf-8")
    assert "math_only" in table and "composite" in table
    (evaluation,) = tmp_path.glob("artifacts/evaluate-*composite*")
    shutil.rmtree(evaluation)
    assert finish(RunFolder(run)) == ["composite"]
    assert "composite" not in (run / "results.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_models_measured_in_another_mode_have_a_table_of_their_own(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    (evaluation,) = tmp_path.glob("artifacts/evaluate-*composite*")
    results = json.loads((evaluation / "results.json").read_text(encoding="utf-8"))
    (evaluation / "results.json").write_text(json.dumps(results | {"mode": "compat"}), encoding="utf-8")
    assert finish(RunFolder(run)) == []
    name = next(model["evaluation"] for model in plan["models"] if model["name"] == "composite")
    assert RunFolder(run).tables == [run / f"results-{name}.md", run / "results.md"]
    assert "composite" in (run / f"results-{name}.md").read_text(encoding="utf-8")
    assert "composite" not in (run / "results.md").read_text(encoding="utf-8")


def test_the_reference_is_the_recipes_first_point_wherever_the_alphabet_puts_it(tmp_path: Path) -> None:
    run = write_ablation(tmp_path, {"plain": (34, 8), "gated": (33, 30), "weak": (10, 8)})
    finish(RunFolder(run))
    found = json.loads((run / "ablation.json").read_text(encoding="utf-8"))
    assert found["reference"] == "plain"


def test_the_last_job_says_what_is_missing_and_what_is_not_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, evaluated=False)
    monkeypatch.setattr(sys, "argv", ["finish", str(run)])
    assert main() == 1
    assert "without results: math_only, composite; adhere status" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["finish", str(tmp_path)])
    assert main() == 2
    assert "is not the folder of a run (it has no plan.json)" in capsys.readouterr().err
