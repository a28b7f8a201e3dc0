"""Agreement with labelled cases and with the gold answers of public data sets, where they are at hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from adhere.rewards.engine import default_engine
from adhere.rewards.math import check_gold, verify_batch

SHARED = Path(__file__).parents[2] / "../shared"
CASES = SHARED / "oracle/math_cases.jsonl.gz"


def golds(pattern: str) -> list[str]:
    files = sorted((SHARED / "data").glob(pattern))
    if not files:
        pytest.skip(f"no data/{pattern} beside the checkout")
    return [str(json.loads(line)["answer"]) for file in files for line in file.read_text("utf-8").splitlines()]


def test_labelled_cases() -> None:
    if not CASES.exists():
        pytest.skip("no oracle/math_cases.jsonl.gz beside the checkout")
    rows = [json.loads(line) for line in gzip.decompress(CASES.read_bytes()).splitlines()]
    verdicts = verify_batch([(row["gold"], row["response"]) for row in rows], default_engine())
    wrong = [(row, v) for row, v in zip(rows, verdicts, strict=True) if (v.score == 1.0) is not row["label"]]
    assert [row for row, _ in wrong if not row["label"]] == [], "false positives"
    assert len(wrong) <= 0.003 * len(rows), wrong
    assert all(v.score is not None for v in verdicts)


@pytest.mark.parametrize("pattern", ["gsm8k/*.jsonl", "math500/*.jsonl", "mathif/*.jsonl"])
def test_public_gold_answers_verify_against_themselves(pattern: str) -> None:
    assert [gold[-80:] for gold in golds(pattern) if not check_gold(gold).passed] == []
