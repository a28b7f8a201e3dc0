"""Rows of the open sets of reasoning traces and of RL problems: what becomes an item and what does not."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adhere.prompts.build import build
from adhere.prompts.config import DataConfig, SourceConfig
from adhere.prompts.item import PromptItem
from adhere.prompts.sources import PromptStyle, check_rows, load
from adhere.rewards.errors import DataError
from adhere.rewards.math import verify_answer
from adhere.rewards.segments import split_response

TRACE = "<think>\nTwo and two. Is it \\boxed{5}? No, it is 4.\n</think>\n\nAdding gives 4.\n\n**Answer:** \\boxed{4}"
OPENR1 = {
    "problem": "What is 2 + 2?", "solution": "Add them: $4$.", "answer": "4", "problem_type": "Algebra",
    "question_type": "math-word-problem", "source": "olympiads", "uuid": "u-1", "is_reasoning_complete": [True, True],
    "generations": ["<think>\nIt is 5.\n</think>\n\n\\boxed{5}", TRACE], "correctness_math_verify": [False, True],
    "correctness_llama": None, "finish_reasons": None, "correctness_count": 1,
    "messages": [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": TRACE}],
}  # fmt: skip
S1K = {
    "question": "What is 2 + 2?", "solution": "4", "cot_type": "math", "source_type": "AI-MO/NuminaMath-CoT/aops_forum",
    "metadata": "{}", "gemini_thinking_trajectory": "g", "gemini_attempt": "g", "gemini_grade": "No",
    "deepseek_thinking_trajectory": "Two and two make 4.", "deepseek_attempt": "It is \\boxed{4}.",
    "deepseek_grade": "Yes", "deepseek_grade_reason": "equal",
}  # fmt: skip
OPENTHOUGHTS = {
    "difficulty": None, "source": "ai2-adapt-dev/openmath-2-math", "domain": "math",
    "conversations": [
        {"from": "human", "value": "Return your final response within \\boxed{}. What is 2 + 2?"},
        {"from": "gpt", "value": TRACE},
    ],
}  # fmt: skip
DAPO = {
    "data_source": "math_dapo", "ability": "MATH",
    "reward_model": {"ground_truth": "4", "style": "rule-lighteval/MATH_v2"},
    "prompt": [{
        "role": "user",
        "content": "Solve the following math problem step by step. The last line of your response should be of the "
        "form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\nWhat is 2 + 2?\n\n"
        'Remember to put your answer on its own line after "Answer:".',
    }],
    "extra_info": {"index": "9a9b6eb4"},
}  # fmt: skip
ROWS = {"openr1": OPENR1, "s1k": S1K, "openthoughts": OPENTHOUGHTS, "dapo": DAPO}


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(path: str, skipped: Counter[str] | None = None, **keys: Any) -> list[PromptItem]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(SourceConfig(path=path, **keys), PromptStyle(), skipped)


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("named", [False, True], ids=["told from the columns", "named"])
def test_a_row_of_each_form_is_a_question_with_its_gold_answer(tmp_path: Path, form: str, named: bool) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS[form])
    (item,) = read(path, **({"format": form} if named else {}))
    asked = {"role": "user", "content": "What is 2 + 2?\nPut the final answer in \\boxed{}."}
    assert (item.messages, item.question, item.answer) == ((asked,), "What is 2 + 2?", "4")
    assert item.meta == {"mix": form}
    assert (item.solution is None) == (form == "dapo")
    assert item.id == {"openr1": "rows/u-1", "dapo": "rows/9a9b6eb4"}.get(form, "rows/1")
    assert check_rows(SourceConfig(path=path), PromptStyle()) == 1


def test_the_first_generation_that_is_complete_and_correct_is_the_trace(tmp_path: Path) -> None:
    other = "<think>\nQuick.\n</think>\n\n\\boxed{4}"
    rows = [
        OPENR1 | {"uuid": "second"},
        OPENR1 | {"uuid": "cut", "is_reasoning_complete": [True, False]},
        OPENR1 | {"uuid": "none", "correctness_math_verify": [False, False]},
        OPENR1 | {"uuid": "judged", "correctness_math_verify": [False, False], "correctness_llama": [True, False],
                  "generations": [other, TRACE]},
        OPENR1 | {"uuid": "short", "correctness_math_verify": [False]},
        OPENR1 | {"uuid": "proof", "answer": "proof"},
    ]  # fmt: skip
    skipped: Counter[str] = Counter()
    items = read(write(tmp_path / "r.jsonl", *rows), skipped)
    assert [(item.id, item.solution) for item in items] == [("r/second", TRACE), ("r/judged", other)]
    assert skipped == {"no generation that is complete and correct": 3, "no final answer to verify": 1}


def test_what_has_no_checked_answer_is_left_out_and_counted(tmp_path: Path) -> None:
    cut = {"from": "gpt", "value": "<think>\nIt goes on and on"}
    bare = {"from": "gpt", "value": "No block. \\boxed{4}"}
    rows: list[dict[str, Any]] = [
        OPENTHOUGHTS,
        OPENTHOUGHTS | {"domain": "code"},
        OPENTHOUGHTS | {"conversations": [OPENTHOUGHTS["conversations"][0], cut]},
        OPENTHOUGHTS | {"conversations": [OPENTHOUGHTS["conversations"][0], bare]},
    ]
    skipped: Counter[str] = Counter()
    assert len(read(write(tmp_path / "o.jsonl", *rows), skipped)) == 1
    assert skipped == {"domain code": 1, "a trace without reasoning or without an end": 2}

    skipped.clear()
    rows = [S1K, S1K | {"deepseek_grade": "No"}, S1K | {"deepseek_attempt": "So it is shown."}]
    assert len(read(write(tmp_path / "s.jsonl", *rows), skipped)) == 1
    assert skipped == {"a trace that was graded as wrong": 1, "no final answer to verify": 1}


def test_a_problem_that_a_file_repeats_is_taken_once_and_two_problems_of_one_id_are_an_error(tmp_path: Path) -> None:
    skipped: Counter[str] = Counter()
    path = write(tmp_path / "d.jsonl", DAPO, DAPO | {"extra_info": {"index": "b"}}, DAPO, DAPO)
    assert [item.id for item in read(path, skipped)] == ["d/9a9b6eb4", "d/b"]
    assert skipped == {"a row that repeats another": 2}
    assert check_rows(SourceConfig(path=path), PromptStyle()) == 2
    other = DAPO | {"prompt": [{"role": "user", "content": "What is 3 + 3?"}]}
    with pytest.raises(DataError, match="occurs twice"):
        read(write(tmp_path / "e.jsonl", DAPO, other))


@pytest.mark.parametrize(
    ("row", "form", "message"),
    [
        ({"problem": "p", "answer": "1"}, "openr1", "no column 'generations'"),
        (OPENR1 | {"generations": "text"}, None, "column 'generations' is not a list"),
        (OPENR1 | {"problem": " "}, None, "holds no question"),
        (OPENTHOUGHTS | {"conversations": "text"}, None, "holds no conversation"),
        (OPENTHOUGHTS | {"conversations": ["text"]}, None, "holds no conversation"),
        (DAPO | {"reward_model": {"style": "rule"}}, None, "has no ground_truth"),
        (DAPO | {"reward_model": "4"}, None, "has no ground_truth"),
        (S1K | {"question": None}, None, "holds no question"),
    ],
)
def test_a_row_without_its_form_is_named(tmp_path: Path, row: dict[str, Any], form: str | None, message: str) -> None:
    path = write(tmp_path / "bad.jsonl", row)
    with pytest.raises(DataError, match=rf"bad\.jsonl:1: .*{message}"):
        read(path, **({"format": form} if form else {}))


def test_a_target_keeps_the_trace_and_its_write_up_obeys(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl", *(OPENR1 | {"uuid": str(n), "problem": f"What is 2 + 2, case {n}?"} for n in range(8))
    )
    config: dict[str, Any] = {
        "train": [{"path": path}],
        "constraints": {"ids": ["startend:end_checker", "punctuation:no_comma"], "count": [1.0]},
        "targets": {"compliance": 1.0},
        "decontaminate": False,
    }
    items = build(DataConfig(**config), "train", with_targets=True).items
    assert len(items) == 8
    for item in items:
        assert item.target is not None and item.answer is not None
        parts = split_response(item.target)
        assert parts.reasoning == "Two and two. Is it \\boxed{5}? No, it is 4.", "the reasoning stays as it is"
        assert parts.answer is not None and verify_answer(item.answer, item.target).passed
        (rule,) = [rule for requirement in item.checklist for rule in requirement.rules]
        assert rule.checker.scoped(parts.answer, parts.reasoning).passed
