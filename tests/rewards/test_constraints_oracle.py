"""Agreement with MathIF's official verdicts and acceptance of its data; both live beside the checkout."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from adhere.rewards.constraints import MATHIF_KEYWORDS, check, conflicts, describe, official_cut, registry, validate

SHARED = Path(__file__).parents[2] / "../shared"
ORACLE = SHARED / "oracle/mathif_verdicts.jsonl.gz"
DATA = SHARED / "data/mathif"


@pytest.fixture(scope="module")
def verdicts() -> list[dict[str, Any]]:
    if not ORACLE.exists():
        pytest.skip(f"the official verdicts are not at {ORACLE}")
    with gzip.open(ORACLE, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def prompts() -> list[dict[str, Any]]:
    if not DATA.exists():
        pytest.skip(f"MathIF's data is not at {DATA}")
    lines = (line for path in sorted(DATA.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines())
    return [json.loads(line) for line in lines if line.strip()]


def test_the_cut_is_the_official_one(verdicts: list[dict[str, Any]]) -> None:
    assert [row["source"] for row in verdicts if official_cut(row["response"]) != row["scored_text"]] == []


@pytest.mark.slow
def test_compat_agrees_with_every_official_verdict(verdicts: list[dict[str, Any]]) -> None:
    differences = [
        (constraint, row["scored_text"][:80])
        for row in verdicts
        for constraint in row["constraints"]
        if check(constraint["id"], row["scored_text"], constraint["kwargs"], "compat").passed != constraint["pass"]
    ]
    assert differences == []


def test_compat_does_not_depend_on_earlier_calls(verdicts: list[dict[str, Any]]) -> None:
    texts = [row["scored_text"] for row in verdicts[:60]]
    forward = [check("language:response_language", t, {"language": "es"}, "compat").detail for t in texts]
    backward = [check("language:response_language", t, {"language": "es"}, "compat").detail for t in texts[::-1]]
    assert forward == backward[::-1]


def test_every_row_of_the_data_is_valid_and_described(prompts: list[dict[str, Any]]) -> None:
    for row in prompts:
        for key, kwargs in zip(row["constraint_name"], row["constraint_args"], strict=True):
            clean = validate(key, kwargs, where=row["id"])
            assert clean == (kwargs or {})
            assert describe(key, clean)


def test_rows_as_parquet_pads_them_are_valid(prompts: list[dict[str, Any]]) -> None:
    names = {param.name for constraint in registry().values() for param in constraint.params}
    for row in prompts:
        for key, kwargs in zip(row["constraint_name"], row["constraint_args"], strict=True):
            floats = {k: float(v) if isinstance(v, int) else v for k, v in (kwargs or {}).items()}
            assert validate(key, dict.fromkeys(names) | floats) == (kwargs or {})


def test_the_held_out_keywords_are_those_of_the_data(prompts: list[dict[str, Any]]) -> None:
    found: set[str] = set()
    for kwargs in itertools.chain.from_iterable(row["constraint_args"] for row in prompts):
        given = kwargs or {}
        found.update(given.get("keywords", []), given.get("forbidden_words", []))
        found.update([given["keyword"]] if "keyword" in given else [])
    assert found <= MATHIF_KEYWORDS
    assert len(MATHIF_KEYWORDS) == 54


def test_only_contradictory_rows_of_the_data_conflict(prompts: list[dict[str, Any]]) -> None:
    """MathIF pairs a repeated request that holds a comma with `no_comma` (reference: 4 rows of 420)."""
    for row in prompts:
        wishes = list(zip(row["constraint_name"], row["constraint_args"], strict=True))
        for a, b in itertools.combinations(wishes, 2):
            if conflicts(a, b):
                assert {a[0], b[0]} == {"combination:repeat_prompt", "punctuation:no_comma"}
                assert "," in row["question"]
