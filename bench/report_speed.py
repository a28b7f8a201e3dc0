"""How long the report of 100,000 rollouts takes to write, and to open in a browser without a window.

    python bench/report_speed.py [--rollouts 100000] [--characters 1200] [--chromium /usr/bin/chromium]

A run of two arms is made in a temporary folder, with rollouts in the files and the schema that training writes. Opening
is timed from navigation to the first rows of the rollout browser; needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from adhere.evaluation.report.write import write_report

ROWS_A_STEP = 512
GROUP = 8
STEMS = ("ad", "be", "co", "de", "en", "fo", "ga", "he", "in", "ju", "ke", "li", "mo", "no", "op", "pa", "qu", "re")
ENDS = ("", "ing", "er", "tion", "ly", "s", "ed", "al", "um", "ist")
WORDS = [stem + end for stem in STEMS for end in ENDS]


def write_run(root: Path, rollouts: int, characters: int) -> Path:
    """Write a run with two GRPO arms and ``rollouts`` rollouts in all; return its folder."""
    run = root / "synthetic"
    stages = []
    for arm in ("math_only", "composite"):
        folder = root / "artifacts" / f"grpo-{arm}"
        (folder / "rollouts").mkdir(parents=True)
        recipe = {
            "name": "synthetic",
            "seed": 0,
            "rewards": {"components": {"math": {"kind": "math"}, "checklist": {"kind": "checklist"}}},
            "grpo": {"max_steps": rollouts // 2 // ROWS_A_STEP},
        }
        spec = {"kind": "grpo", "label": f"grpo[{arm}]", "key": arm * 8, "recipe": recipe}
        (folder / "stage.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        _write_rollouts(folder, rollouts // 2, characters, random.Random(arm))
        (folder / "DONE").touch()
        stages.append(
            {"label": spec["label"], "key": spec["key"], "artifact": folder.name, "inputs": {}, "arms": [arm]}
        )
    run.mkdir()
    (run / "plan.json").write_text(json.dumps({"stages": stages, "models": []}), encoding="utf-8")
    (run / "recipe.yaml").write_text("name: synthetic\n", encoding="utf-8")
    return run


def _write_rollouts(folder: Path, rows: int, characters: int, chance: random.Random) -> None:
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as metrics:
        for step, start in enumerate(range(0, rows, ROWS_A_STEP)):
            size = min(ROWS_A_STEP, rows - start)
            table = [_rollout(step, row // GROUP, characters, chance) for row in range(size)]
            pq.write_table(pa.Table.from_pylist(table), folder / "rollouts" / f"step_{step:06d}.parquet")
            row = {"step": step + 1, "rates/joint": chance.random(), "completions/mean_length": 300.0}
            metrics.write(json.dumps(row) + "\n")


def _rollout(step: int, group: int, characters: int, chance: random.Random) -> dict[str, object]:
    text = " ".join(chance.choices(WORDS, k=characters // 6))
    met = chance.random() < 0.5
    correct = chance.random() < 0.7
    score = float(met)
    requirement = {"id": "punctuation:no_comma", "text": "Use no comma.", "score": score, "status": "ok", "detail": ""}
    return {
        "step": step, "group": group, "item_id": f"item/{step}-{group}", "source": "synthetic",
        "prompt": f"Question {step}-{group}: " + " ".join(WORDS[:40]),
        "response": f"<think>\n{text}\n</think>\n\nSo 7.",
        "answer": "7", "tokens": characters // 4, "finished": True, "correct": correct, "followed": met,
        "requirements": [requirement, {**requirement, "id": "startend:quotation"}],
        "math_score": float(correct), "math_status": "ok", "math_detail": "7 is the gold answer",
        "checklist_score": score, "checklist_status": "ok", "checklist_detail": "",
        "math_value": float(correct), "checklist_value": score, "advantage": chance.gauss(0.0, 1.0),
    }  # fmt: skip


def seconds_to_open(page_file: Path, chromium: str) -> tuple[float, float]:
    """Return the seconds until the page's summary is painted, and until the rollout browser shows its first rows."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto("about:blank")
        started = time.perf_counter()
        page.goto(page_file.resolve().as_uri(), wait_until="commit")
        page.wait_for_selector(".headline", timeout=120_000)
        painted = time.perf_counter() - started
        page.wait_for_selector("html[data-ready=yes]", timeout=120_000)
        ready = time.perf_counter() - started
        browser.close()
    return painted, ready


def main() -> None:
    """Print both times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--characters", type=int, default=1200, help="characters of a response")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome") or "chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = write_run(Path(scratch), arguments.rollouts, arguments.characters)
        started = time.perf_counter()
        report = write_report(run)
        wrote = time.perf_counter() - started
        size = report.page.stat().st_size / 1e6
        print(f"{platform.machine()}, Python {platform.python_version()}")
        print(f"{report.rollouts:,} rollouts of {arguments.characters} characters, text of {report.with_text:,}")
        print(f"written in {wrote:.1f} s, {size:.1f} MB, {len(report.figures)} figure files")
        painted, ready = seconds_to_open(report.page, arguments.chromium)
        print(f"summary seen after {painted:.1f} s, rollouts browsable after {ready:.1f} s")


if __name__ == "__main__":
    main()
