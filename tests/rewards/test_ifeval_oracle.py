"""Agreement with IFEval's official strict and loose verdicts; the data lives beside the checkout."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from adhere.rewards.constraints import check_loose, conflicts, describe, follow, loose_variants, registry, validate

SHARED = Path(__file__).parents[2] / "../shared"
ORACLE = SHARED / "oracle/ifeval_gpt4_verdicts.jsonl.gz"
DATA = SHARED / "data/ifeval/input_data.jsonl"

REPEAT, LANGUAGE = "combination:repeat_prompt", "language:response_language"
CONTRADICTORY = {
    (1392, "length_constraints:number_sentences", "length_constraints:number_words"),
    (1627, REPEAT, "punctuation:no_comma"),
    (3305, LANGUAGE, REPEAT),
    (3305, LANGUAGE, "keywords:existence"),
    (3311, LANGUAGE, "keywords:existence"),
    (3369, REPEAT, "keywords:frequency"),
    (3371, REPEAT, "keywords:forbidden_words"),
    (3718, REPEAT, "punctuation:no_comma"),
    (374, REPEAT, "keywords:forbidden_words"),
}
"""Prompts of IFEval that ask for what no sensible response can do together: fewer than 5 sentences of 250 words in all,
a request repeated that holds what is forbidden, English keywords in a Hindi or Korean text."""


@pytest.fixture(scope="module")
def verdicts() -> list[dict[str, Any]]:
    if not ORACLE.exists():
        pytest.skip(f"IFEval's verdicts are not at {ORACLE}")
    with gzip.open(ORACLE, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def prompts() -> list[dict[str, Any]]:
    if not DATA.exists():
        pytest.skip(f"IFEval's prompts are not at {DATA}")
    return [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines() if line.strip()]


def test_compat_agrees_with_every_strict_and_loose_verdict(verdicts: list[dict[str, Any]]) -> None:
    differences = []
    for row in verdicts:
        given = follow(row["response"], [(c["id"], c["kwargs"]) for c in row["constraints"]])
        for constraint, strict, loose in zip(row["constraints"], given.strict, given.loose, strict=True):
            if (strict.passed, loose.passed) != (constraint["strict"], constraint["loose"]):
                differences.append((row["key"], constraint, strict.detail, loose.detail))
    assert differences == []
    assert {c["id"] for row in verdicts for c in row["constraints"]} <= set(registry())
    assert len({c["id"] for row in verdicts for c in row["constraints"]}) == 25


def test_every_prompt_of_the_data_is_valid_and_described(prompts: list[dict[str, Any]]) -> None:
    ids = set()
    for row in prompts:
        for key, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            assert validate(key, kwargs, where=str(row["key"])) == {k: v for k, v in kwargs.items() if v is not None}
            assert describe(key, kwargs)
            ids.add(key)
    assert len(ids) == 25


def test_only_contradictory_prompts_of_the_data_conflict(prompts: list[dict[str, Any]]) -> None:
    found = set()
    for row in prompts:
        wishes = list(zip(row["instruction_id_list"], row["kwargs"], strict=True))
        pairs = itertools.combinations(wishes, 2)
        found |= {(row["key"], a[0], b[0]) for a, b in pairs if conflicts(a, b)}
    assert found == CONTRADICTORY


def test_the_eight_readings_of_a_response() -> None:
    assert loose_variants("Sure!\n*a*\nBye.") == (
        "Sure!\n*a*\nBye.",
        "*a*\nBye.",
        "Sure!\n*a*",
        "*a*",
        "Sure!\na\nBye.",
        "a\nBye.",
        "Sure!\na",
        "a",
    )
    assert loose_variants("one line") == ("one line",)
    assert loose_variants(" ") == (" ",)


def test_loose_forgives_the_first_and_the_last_line() -> None:
    given = follow("Sure, here it is:\nFive apples", [("punctuation:no_comma", {}), ("startend:quotation", {})])
    assert [verdict.passed for verdict in given.strict] == [False, False]
    assert [verdict.passed for verdict in given.loose] == [True, False]
    assert not check_loose("", "punctuation:no_comma").passed
