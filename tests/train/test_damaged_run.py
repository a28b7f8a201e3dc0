"""What a damaged run folder, or a stage that somebody else runs, says to the commands that meet it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adhere.records.artifact import Artifact, held
from adhere.rewards.errors import StageError
from adhere.train.cli import main
from adhere.train.config.schema import LauncherConfig
from adhere.train.launch.local import stage as local


@pytest.mark.parametrize("content", [b'{"stages": [{"label"', b"[]", b"{}", b'{"stages": [{}]}', b"\xff\xfe\x00"])
@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_a_damaged_plan_is_named(
    tmp_path: Path, content: bytes, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    assert main([command, str(tmp_path)]) == 2
    assert "plan.json: is damaged; the command that started the run writes it again" in capsys.readouterr().err


def test_a_second_driver_takes_nothing_away_from_a_live_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LEAVING_SECONDS", 0.0)
    artifact = Artifact(tmp_path)
    artifact.requeue.write_text('{"step": 3}')
    with held(artifact), pytest.raises(StageError, match="another process is running this stage"):
        local.run_stage(artifact, LauncherConfig(), "grpo", "grpo")
    assert artifact.requeue.exists()
    assert list(artifact.logs.iterdir()) == []
