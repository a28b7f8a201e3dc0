"""``adhere checklist``: messages, exit codes, what inspect shows, a real server whose model writes none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_endpoint import MODEL, endpoint  # noqa: F401  (the fixture: `transformers serve` on loopback)
from tiny_run import REPOSITORY

from adhere.train.cli import main

HERE = "base_url=http://127.0.0.1:9/v1"
MISTAKES = {
    "": ["usage: adhere checklist generate", "adhere checklist inspect FILE"],
    "generat": ["did you mean 'generate'?"],
    "generate in.jsonl": ["usage: adhere checklist generate IN OUT.jsonl"],
    "generate in.jsonl out.jsonl": ["base_url: is required", "model: is required"],
    f"generate in.jsonl out.jsonl {HERE} modl=m": ["modl: there is no such key (did you mean 'model'?)"],
    f"generate in.jsonl out.jsonl {HERE} model=m method=rlcf": ["method: ", "'direct', 'candidates' or 'rar'"],
    f"generate in.jsonl out.jsonl {HERE} model=m concurrency=0": ["concurrency: ", "greater than or equal to 1"],
    f"generate in.jsonl out.jsonl {HERE} model=m max_items=0": ["max_items: "],
    f"generate in.jsonl out.jsonl {HERE} model=m min_items=9": ["min_items: 9 is more than max_items, 7"],
    f"generate in.jsonl out.jsonl {HERE} model=m candidate_models=a": ["candidate_models: has no meaning for method"],
    "generate in.jsonl out.jsonl base_url=http://localhost:abc/v1 model=m": [
        "base_url: is not the address of an endpoint",
        "localhost:abc",
    ],
    f"generate in.jsonl out.jsonl {HERE} model=m limit=none": ["limit: 'none' is not a whole number"],
    f"generate in.jsonl out.jsonl {HERE} model=m limit=0": ["limit: '0' is not a whole number of at least 1"],
    "generate in.jsonl out.jsonl base_url=127.0.0.1:1/v1 model=m": [
        "base_url: is not the address of an endpoint",
        "http://127.0.0.1:8000",
    ],
    f"generate nowhere.jsonl out.jsonl {HERE} model=m": ["nowhere.jsonl: no such file"],
    f"generate in.jsonl out.parquet {HERE} model=m": ["out.parquet: the output is written row by row", ".jsonl"],
    f"generate bad.jsonl out.jsonl {HERE} model=m": ["bad.jsonl:1: candidates is not a list of texts"],
    f"generate in.jsonl ./in.jsonl {HERE} model=m": ["in.jsonl: is the input itself", "name another file"],
    f"generate a.report.jsonl a.jsonl {HERE} model=m": ["a.report.jsonl: is the input itself"],
    f"generate in.jsonl out.jsonl {HERE} model=m columns=prompt": ["columns: 'prompt' is not a map"],
    f"generate in.jsonl out.jsonl {HERE} model=m columns={{quest:prompt}}": ["columns: '{quest:prompt}' is not a map"],
    f"generate in.jsonl out.jsonl {HERE} model=m columns={{'quest':'prompt'}}": [
        "columns.quest: not one of id, question, answer, solution, options (did you mean 'question'?)"
    ],
    f"generate in.jsonl out.jsonl {HERE} model=m columns={{'question':'prompt'}}": ["in.jsonl", "prompt"],
    "inspect": ["usage: adhere checklist inspect FILE"],
    "inspect in.jsonl limt=5": [
        "limt: there is no such key (did you mean 'limit'?)",
        "usage: adhere checklist inspect",
    ],
    "inspect nowhere.jsonl": ["nowhere.jsonl: no such file"],
    "inspect in.jsonl limit=none": ["limit: 'none' is not a whole number"],
}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"question": "Name a town."}\n', encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text('{"question": "Name a town.", "candidates": "Rome"}\n', encoding="utf-8")


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_ends_with_2_and_one_message(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checklist", *line.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("adhere checklist: ") and "Traceback" not in error
    for part in MISTAKES[line]:
        assert part in error


def test_help_names_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checklist", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "method (direct): " in shown and "prompt_price (0.0): " in shown and "limit (None): " in shown


def item(name: str, *checklist: Any) -> dict[str, Any]:
    return {"id": name, "messages": [{"role": "user", "content": "Name a town."}], "checklist": list(checklist)}


def judged(name: str, text: str, weight: Any = 50.0) -> dict[str, Any]:
    return {"id": name, "text": text, "weight": weight, "check": {"type": "judge"}}


def rule(name: str, constraint: str, **kwargs: Any) -> dict[str, Any]:
    check = {"type": "rule", "constraint": constraint, "kwargs": kwargs}
    return {"id": name, "text": f"Rule {name}.", "weight": 100.0, "check": check}


def write(path: Path, *rows: Any) -> None:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")


def test_inspect_shows_counts_weights_kinds_and_doubts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bullets = "detectable_format:number_bullet_lists"
    write(
        tmp_path / "items.jsonl",
        item("a", rule("1", "punctuation:no_comma"), judged("2", "Is the response helpful?")),
        item(
            "b", judged("1", "Does it name a town and its river?"), judged("2", "Does it name a town, and its river?")
        ),
        item("c", rule("1", bullets, num_bullets=2), rule("2", bullets, num_bullets=3)),
        item("d"),
    )
    assert main(["checklist", "inspect", "items.jsonl"]) == 0
    shown = capsys.readouterr().out
    assert "100 50" in shown
    assert "items 4, with a checklist 3, decided only by rules 1, invalid rows 0" in shown
    assert "requirements 6 (2.00 an item with a checklist): judge 3 rule 3" in shown
    assert "flags: contradictory 1 duplicate 1 generic 1 non-atomic 2" in shown


def test_inspect_shows_ids_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "items.jsonl", *(item(name, judged("1", "Is it short?")) for name in ("a[b]", "[/c]")))
    assert main(["checklist", "inspect", "items.jsonl"]) == 0
    shown = capsys.readouterr().out
    assert "a[b]" in shown and "[/c]" in shown


def test_inspect_names_every_invalid_row_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        tmp_path / "items.jsonl",
        item("a", judged("1", "Is it short?")),
        item("b", judged("1", "Is it short?", weight=101)),
        {"id": "c", "checklist": []},
        item("d", rule("1", "punctuation:no_coma")),
        item("e", judged("1", "Is it short?"), judged("1", "Is it long?")),
        item("a"),
        item("f", {"id": "1", "text": "x", "check": {"type": "oracle"}}),
        '{"broken": ',
    )
    assert main(["checklist", "inspect", "items.jsonl"]) == 1
    shown, error = capsys.readouterr()
    assert "items 1, with a checklist 1" in shown and "invalid rows 7" in shown
    for part in (
        "items.jsonl:2: checklist[0]",
        "101 is not a number in [0, 100]",
        "items.jsonl:3: lacks messages",
        "did you mean 'punctuation:no_comma'?",
        "items.jsonl:5: checklist[1].id: '1' occurs twice",
        "items.jsonl:6: id 'a' occurs twice, first at items.jsonl:1",
        "items.jsonl:7: checklist[0]",
        "items.jsonl:8: not JSON",
    ):
        assert part in error


@pytest.mark.slow
def test_a_model_that_writes_no_checklist_fails_row_by_row(endpoint: str, tmp_path: Path) -> None:  # noqa: F811
    write(tmp_path / "in.jsonl", *({"question": f"What is {n} + 4?"} for n in range(3)))
    done = subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", "checklist", "generate", "in.jsonl", "out.jsonl",
         f"base_url={endpoint}", f"model={MODEL}", "max_tokens=64"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "0 rows kept, 0 written, 3 failed" in done.stdout
    assert "in.jsonl:1 (in/1): the reply: " in done.stderr and "also after it was sent back once" in done.stderr
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == ""
    reports = [json.loads(line) for line in (tmp_path / "out.report.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [report["status"] for report in reports] == ["failed"] * 3
