"""What ``adhere watch`` shows of finished, running and failed runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_run import write_run
from rich.console import Console

from adhere.evaluation.report.watch import ended, frame
from adhere.train.cli import main


def shown(run: Path, width: int = 140) -> str:
    console = Console(width=width, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(frame(run))
    return captured.get()


def test_once_prints_stages_components_alarms_and_rollouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path)
    assert main(["watch", str(run), "--once"]) == 0
    text = capsys.readouterr().out
    assert "grpo[composite]" in text and "6/6" in text and "evaluate[composite]" in text
    assert "checklist" in text and "responses grow <b>fast</b>" in text
    assert "newest rollouts of" in text and "\\boxed{4}" in text
    assert ended(run)


def test_a_running_stage_with_a_half_written_line_shows_what_is_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (grpo,) = tmp_path.glob("artifacts/grpo-0composite*")
    (grpo / "DONE").unlink()
    rows = (grpo / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (grpo / "metrics.jsonl").write_text("".join(rows[:3]) + rows[3][:20], encoding="utf-8")
    newest = sorted((grpo / "rollouts").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:50])
    text = shown(run)
    assert "3/6" in text and "0 min 06 s" in text and "step 4" in text
    assert not ended(run)


def test_a_failed_stage_says_why_and_ends_the_watch(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (grpo,) = tmp_path.glob("artifacts/grpo-0math_only*")
    (grpo / "DONE").unlink()
    (grpo / "FAILED").write_text('{"message": "out of disk \\u001b[2J"}', encoding="utf-8")
    text = shown(run)
    assert "failed  grpo[math_only]: out of disk  [2J" in text and "\x1b[2J" not in text
    assert ended(run)


def test_a_run_that_has_only_a_plan_can_be_watched(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    for path in tmp_path.glob("artifacts/*"):
        path.rename(tmp_path / f"gone-{path.name}")
    assert "to run" in shown(run)


def test_eighty_columns_hold_every_heading_and_figure(tmp_path: Path) -> None:
    lines = shown(write_run(tmp_path), 80).splitlines()
    head = next(line for line in lines if line.strip().startswith("stage"))
    assert head.split() == ["stage", "state", "step", "joint", "accuracy", "HAcc", "tokens", "s/step", "left"]
    row = next(line for line in lines if line.strip().startswith("grpo[composite]"))
    assert "6/6" in row and all(len(line) <= 80 for line in lines)
