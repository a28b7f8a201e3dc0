"""Trackers beside the plain files: W&B offline leaves a run directory, trackio its data base, TensorBoard events."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from adhere.rewards.errors import ConfigError
from adhere.train.ablation.points import plan_ablation
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import TrackingConfig
from adhere.train.config.trackers import INTEGRATIONS, chosen, stage_of, tracker_named, wandb_mode
from adhere.train.launch.local.stage import check_machine
from adhere.train.run.graph import order
from adhere.train.run.run import spec_of

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes" / "assets" / "tiny_base"


@pytest.mark.slow
def test_wandb_offline_and_trackio_record_two_steps_of_grpo(tmp_path: Path) -> None:
    if not TINY.is_dir():
        pytest.skip(f"needs the tiny base model at {TINY}")
    line = ["train", "debug=smoke", "~arms", "stages=[grpo,evaluate]", "launcher.device=cpu", "launcher.threads=1"]
    line += ["tracking.wandb=offline", "tracking.trackio=true", "tracking.project=tracked", "tracking.tags=[mine]"]
    board = [name for name in INTEGRATIONS["tensorboard"] if importlib.util.find_spec(name) is not None]
    line += ["tracking.trackers=[tensorboard]"] if board else []
    known = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "TRACKIO_"))}
    done = subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", *line],
        cwd=tmp_path,
        env={
            **known,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "TRACKIO_DIR": str(tmp_path / "trackio"),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    artifact = (tmp_path / "runs" / "latest" / "stages" / "grpo").resolve()

    rows = [json.loads(text) for text in (artifact / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows if "rates/joint" in row] == [1, 2]

    (run,) = (artifact / "wandb").glob("offline-run-*")
    (record,) = run.glob("*.wandb")
    assert b"rates/joint" in record.read_bytes() and b"mine" in record.read_bytes()
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in run.glob("files/media/table/rollouts_*.json")]
    steps = {row[table["columns"].index("step")] for table in tables for row in table["data"]}
    assert steps == {0, 1}

    (base,) = (tmp_path / "trackio").glob("tracked*.db")
    with sqlite3.connect(base) as connection:
        logged = [json.loads(text) for (text,) in connection.execute("SELECT metrics FROM metrics ORDER BY step")]
    # What the evaluations measured is there too, as runs of their own in the group.
    measured = sorted(path.parent for path in (tmp_path / "runs" / "artifacts").glob("evaluate-*/DONE"))
    assert measured
    for folder in measured:
        (record,) = folder.glob("wandb/offline-run-*/*.wandb")
        assert b"evaluation/joint" in record.read_bytes() and b"evaluate" in record.read_bytes()
        if board:
            assert any(b"eval/joint" in path.read_bytes() for path in folder.glob("tensorboard/events.*"))
    if board:
        assert any(b"rates/joint" in path.read_bytes() for path in artifact.glob("tensorboard/events.*"))
    assert sum("eval/joint" in row for row in logged) == len(measured)
    assert sum(row.get("rollouts", {}).get("_type") == "trackio.table" for row in logged) == 2
    assert sum("rates/joint" in row or "train/rates/joint" in row for row in logged) == 2


def test_an_unknown_mode_of_wandb_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.wandb: .*'offline'.*got 'ofline'"):
        compose_recipe(["tracking.wandb=ofline"])


LOGIN = "machine api.wandb.ai\n  login user\n  password 0123456789\n"
OTHER = "machine wandb.lab.org:8080\n  login user\n  password 0123456789\n"


@pytest.mark.parametrize(
    ("said", "variables", "login", "mode"),
    [
        ("auto", {}, "", "off"),
        ("auto", {"WANDB_API_KEY": "k"}, "", "online"),
        ("auto", {}, LOGIN, "online"),
        ("auto", {}, OTHER, "off"),
        ("auto", {"WANDB_BASE_URL": "http://wandb.lab.org:8080/"}, OTHER, "online"),
        ("auto", {"WANDB_BASE_URL": "http://wandb.lab.org:8080/"}, LOGIN, "off"),
        ("auto", {"WANDB_MODE": "offline"}, "", "offline"),
        ("auto", {"WANDB_MODE": "offline", "WANDB_API_KEY": "k"}, LOGIN, "offline"),
        ("auto", {"WANDB_MODE": "dryrun"}, LOGIN, "offline"),
        ("auto", {"WANDB_MODE": "disabled", "WANDB_API_KEY": "k"}, LOGIN, "off"),
        ("auto", {"WANDB_MODE": "online"}, LOGIN, "online"),
        ("auto", {"WANDB_MODE": ""}, LOGIN, "online"),
        ("auto", {"WANDB_MODE": "online"}, "", "WANDB_MODE: online needs a key: run wandb login"),
        ("auto", {"WANDB_MODE": "of"}, "", "WANDB_MODE: is 'of', not one of online"),
        ("online", {}, LOGIN, "online"),
        ("online", {}, "", "tracking.wandb: online needs a key"),
        ("online", {"WANDB_MODE": "offline"}, LOGIN, "online"),
        ("offline", {"WANDB_MODE": "disabled"}, "", "offline"),
        ("off", {"WANDB_API_KEY": "k", "WANDB_MODE": "nonsense"}, LOGIN, "off"),
        ("auto", {}, "default login user password 0123456789\n", "off"),
        ("auto", {}, "machine api.wandb.ai nonsense\n", "; mend it, so that W&B's key can be read"),
        ("auto", {}, "machine example.org nonsense\n", "off"),
    ],
)
def test_wandb_is_used_as_the_recipe_its_variable_and_its_login_say(
    said: str, variables: dict[str, str], login: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if login:
        (tmp_path / ".netrc").write_text(login, encoding="utf-8")
        (tmp_path / ".netrc").chmod(0o600)
    tracking = TrackingConfig.model_validate({"wandb": said})
    if mode in ("off", "offline", "online"):
        assert wandb_mode(tracking) == mode
        assert chosen(tracking) == ([] if mode == "off" else ["wandb"])
    else:
        with pytest.raises(ConfigError, match=re.escape(mode)):
            wandb_mode(tracking)


def test_every_integration_of_transformers_is_a_tracker_by_its_name() -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert {*INTEGRATIONS, "wandb", "trackio"} == {*INTEGRATION_TO_CALLBACK}
    for name in INTEGRATIONS:
        assert tracker_named(name).report_to == name
        assert compose_recipe([f"tracking.trackers=[{name}]"]).tracking.trackers == [name]
    with pytest.raises(
        ConfigError, match=r"tracking\.trackers: there is no tracker 'tensorbord' \(did you mean 'tensorb"
    ):
        compose_recipe(["tracking.trackers=[tensorbord]"])


def test_a_tracker_whose_package_is_missing_is_refused_before_anything_starts() -> None:
    if importlib.util.find_spec("neptune") is not None:
        pytest.skip("neptune is installed")
    recipe = compose_recipe(["debug=smoke", "tracking.trackers=[neptune]"])
    for kind in ("sft", "evaluate"):
        with pytest.raises(ConfigError, match=r"tracking\.trackers=neptune needs neptune, which is not installed"):
            check_machine([(kind, recipe)])


def test_a_stage_of_an_ablation_knows_its_point_and_its_seed() -> None:
    run = plan_ablation(
        ["recipe=quickstart", "ablation.weights=[{checklist: 0},{checklist: 1}]", "ablation.seeds=[3,5]"]
    ).run
    found = {stage.label: stage_of(spec_of(run, stage)) for stage in order(run.graph)}
    assert (found["sft"]["point"], found["sft"]["seed"]) == (None, None)
    one = found["grpo[checklist1-s5]"]
    assert (one["point"], one["seed"], one["kind"]) == ("checklist1", 5, "grpo")
    assert found["evaluate[checklist0-s3]"]["point"] == "checklist0"
