"""Replay recorded GRPO runs through the drift monitors: which alarms would each have raised, and when?

python bench/monitor_alarms.py runs/artifacts/grpo-*
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from adhere.train.config.monitors import MonitorsConfig
from adhere.train.stages.drift import Alarm, alarms
from adhere.train.stages.rollout_stats import generation_figures


def replay(folder: Path, config: MonitorsConfig) -> tuple[list[dict[str, float]], list[Alarm]]:
    """Return the figures of every recorded generation, and the first alarm of each kind."""
    history: list[dict[str, float]] = []
    raised: dict[str, Alarm] = {}
    for path in sorted((folder / "rollouts").glob("step_*.parquet")):
        rows = pq.read_table(path).to_pylist()
        size = sum(row["group"] == rows[0]["group"] for row in rows)
        figures = generation_figures(rows, [row["advantage"] for row in rows], size)
        history.append({"step": rows[0]["step"], **figures})
        for alarm in alarms(history, config):
            raised.setdefault(alarm.name, alarm)
    return history, list(raised.values())


def learning_rate(folder: Path) -> float:
    """Return the learning rate that the run was made with."""
    stage: dict[str, Any] = yaml.safe_load((folder / "stage.yaml").read_text(encoding="utf-8"))
    return float(stage["recipe"]["grpo"]["learning_rate"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="artifact folders of grpo stages")
    for folder in sorted(parser.parse_args().runs, key=learning_rate):
        history, raised = replay(folder, MonitorsConfig())
        first, last = (sum(row["accuracy"] for row in part) / len(part) for part in (history[:5], history[-10:]))
        words = "; ".join(f"{alarm.name} at {alarm.step} ({alarm.text})" for alarm in raised) or "no alarm"
        rate = learning_rate(folder)
        print(f"{folder.name}  lr {rate:.0e}  {len(history)} steps  accuracy {first:.2f} → {last:.2f}  {words}")


if __name__ == "__main__":
    main()
