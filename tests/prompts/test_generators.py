"""The generators that ship: word problems whose solutions hold, everyday requests, and splits that never meet."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from adhere.prompts.config import SourceConfig
from adhere.prompts.everyday import REQUESTS, WORDS, general
from adhere.prompts.generators import GENERATORS
from adhere.prompts.item import PromptItem
from adhere.prompts.sources import PromptStyle, load
from adhere.prompts.word_problems import TEMPLATES, split_of, word_problems
from adhere.rewards.errors import DataError
from adhere.rewards.math import verify_answer

_STEP = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def source(generator: str, size: int, seed: int = 0, **params: Any) -> list[PromptItem]:
    config = SourceConfig(generator=generator, size=size, seed=seed, params=params)
    return load(config, PromptStyle())


def test_both_are_registered_like_a_plug_ins() -> None:
    assert {"word_problems", "general"} <= set(GENERATORS)
    assert all(GENERATORS.package(name) == "adhere" for name in ("word_problems", "general"))


@pytest.mark.slow
def test_every_step_of_every_solution_is_right_and_ends_in_the_boxed_answer() -> None:
    for problem in word_problems(1500, 3):
        steps = _STEP.findall(problem["solution"])
        assert len(steps) == problem["steps"]
        for left, sign, right, result in steps:
            assert eval(f"{left} {sign} {right}") == int(result)
        assert steps[-1][3] == problem["answer"]
        assert problem["solution"].count("\\boxed{") == 1
        assert verify_answer(problem["answer"], problem["solution"]).passed
        said = {int(number) for number in re.findall(r"\d+", problem["question"])}
        assert said == set(problem["numbers"]) and max(said) <= 50 and 2 <= int(problem["answer"]) <= 50
        assert not re.search(r"[{}]", problem["question"])


@pytest.mark.slow
def test_there_are_eight_or_more_templates_of_one_and_two_steps_each_in_two_wordings() -> None:
    problems = list(word_problems(2000, 0))
    counts = Counter(problem["template"] for problem in problems)
    assert len(TEMPLATES) >= 8 and set(counts) == {template.name for template in TEMPLATES}
    assert {problem["steps"] for problem in problems} == {1, 2}
    assert all(len(template.questions) >= 2 and len(template.solutions) >= 2 for template in TEMPLATES)
    assert max(counts.values()) < 4 * min(counts.values())


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(0, 0), (1, 2), (5, 5)])
def test_training_and_evaluation_share_no_template_with_the_same_numbers(seeds: tuple[int, int]) -> None:
    def keys(split: str, seed: int, size: int) -> set[tuple[Any, ...]]:
        found = [(p["template"], tuple(p["numbers"])) for p in word_problems(size, seed, split=split)]
        assert len(set(found)) == size
        assert all(split_of(*key) == split for key in found)
        return set(found)

    assert not keys("train", seeds[0], 2500) & keys("evaluation", seeds[1], 600)


def test_problems_are_seeded_and_a_longer_list_begins_with_a_shorter_one() -> None:
    assert list(word_problems(40, 4)) == list(word_problems(80, 4))[:40]
    assert list(word_problems(40, 4)) != list(word_problems(40, 5))
    assert list(general(40, 4)) == list(general(80, 4))[:40]


def test_steps_and_the_largest_number_can_be_chosen() -> None:
    small = list(word_problems(60, 0, largest=20, steps=[1]))
    assert {problem["steps"] for problem in small} == {1}
    assert max(int(number) for problem in small for number in re.findall(r"\d+", problem["solution"])) <= 20


@pytest.mark.parametrize(
    ("generator", "params", "message"),
    [
        ("word_problems", {"split": "eval"}, "params.split: 'eval' is not one of train, evaluation"),
        ("word_problems", {"largest": 5}, "params.largest: 5"),
        ("word_problems", {"largest": "50"}, "params.largest"),
        ("word_problems", {"steps": [3]}, "params.steps"),
        ("word_problems", {"steps": []}, "params.steps"),
        ("word_problems", {"spilt": "train"}, "did you mean 'split'"),
        ("general", {"split": "test"}, "params.split: 'test' is not one of"),
    ],
)
def test_arguments_out_of_range_are_named(generator: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        source(generator, 5, **params)


def test_more_problems_than_there_are_is_an_error_that_says_how_many() -> None:
    with pytest.raises(DataError, match=r"of the split evaluation with numbers to 10 were found, size asks for 5000"):
        source("word_problems", 5000, split="evaluation", largest=10, steps=[1])


def test_a_sources_items_have_gold_solution_and_ids() -> None:
    items = source("word_problems", 30)
    assert len({item.id for item in items}) == 30
    assert all(item.answer and item.solution and "\\boxed{}" in item.messages[-1]["content"] for item in items)


def test_requests_have_a_response_and_no_answer_and_fill_every_slot() -> None:
    problems = list(general(1200, 0))
    assert {problem["template"] for problem in problems} == {name for name, _, _ in REQUESTS}
    for problem in problems:
        assert problem["answer"] is None and len(problem["solution"].split(". ")) >= 3
        assert not re.search(r"[{}\d]", problem["question"] + problem["solution"])
    assert all(len(words) >= 4 for words in WORDS.values())


def test_requests_of_the_splits_never_meet() -> None:
    def keys(split: str, size: int) -> set[tuple[Any, ...]]:
        return {(p["template"], tuple(sorted(p["words"].items()))) for p in general(size, 0, split=split)}

    assert not keys("train", 2000) & keys("evaluation", 400)


def test_a_source_can_do_without_the_sentence_about_the_answer() -> None:
    config = SourceConfig(generator="general", size=3, answer_instruction="")
    assert all(item.messages[-1]["content"] == item.question for item in load(config, PromptStyle()))
