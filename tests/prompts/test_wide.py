"""``data=wide``: all families, one to six constraints, held-out families, prompts without maths, a text for each."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from adhere.prompts.attach import Sampler, satisfiable, worked_text
from adhere.prompts.build import Built, build
from adhere.prompts.config import ConstraintSamplerConfig, DataConfig
from adhere.prompts.fingerprint import fingerprint
from adhere.prompts.item import PromptItem
from adhere.prompts.sources import PromptStyle
from adhere.rewards.constraints import by_scope, conflicts, prepare, redundant, registry, wide_keywords
from adhere.rewards.errors import ConstraintError
from adhere.rewards.math import verify_answer
from adhere.rewards.segments import split_response
from adhere.train.config.compose import compose_recipe

HELD_OUT = {"paragraphs", "letters", "last_word"}


def wide(**keys: Any) -> DataConfig:
    config = compose_recipe(["data=wide", "model.context=1024"]).data.model_dump(mode="json")
    for role, sizes in (("train", (160, 120)), ("evaluation", (20, 20, 20, 20))):
        for source, size in zip(config[role], sizes, strict=True):
            source["size"] = size
    return DataConfig.model_validate(config | {"max_prompt_tokens": None} | keys)


@pytest.fixture(scope="module")
def built() -> Built:
    return build(wide(), "train", with_targets=True)


def rules(item: PromptItem) -> list[Any]:
    return [rule.checker for requirement in item.checklist for rule in requirement.rules]


@pytest.mark.slow
def test_one_to_six_constraints_of_all_families_but_the_held_out_ones(built: Built) -> None:
    assert {len(item.checklist) for item in built.items} == {1, 2, 3, 4, 5, 6}
    drawn = Counter(checker.id for item in built.items for checker in rules(item))
    families = {name.partition(":")[0] for name in drawn}
    everything = {name.partition(":")[0] for name in registry()} - HELD_OUT
    assert everything - {"new", "copy", "language"} <= families and not families & HELD_OUT
    assert len(drawn) >= 40


@pytest.mark.slow
def test_no_prompt_has_a_contradictory_or_redundant_pair_and_each_has_a_real_text(built: Built) -> None:
    for item in built.items:
        for a, b in combinations(rules(item), 2):
            assert not conflicts(a, b) and not redundant(a, b), (a.id, b.id)
        answer, reasoning = by_scope(rules(item))
        text = worked_text(item.answer, answer, item.solution)
        assert text is not None and all(checker.meets(text) for checker in answer)
        assert item.answer is None or verify_answer(item.answer, text).passed
        thought = worked_text(None, reasoning, item.solution)
        assert thought is not None and all(checker.meets(thought) for checker in reasoning)


def test_targets_of_requests_without_gold_are_responses_and_half_obey(built: Built) -> None:
    requests = [item for item in built.items if item.source == "general"]
    assert len(requests) >= 100 and all(item.answer is None and item.target for item in requests)
    assert not any("\\boxed" in message["content"] for item in requests for message in item.messages)
    obeying = 0
    for item in requests:
        parts = split_response(item.target or "")
        obeying += all(checker.scoped(parts.answer or "", parts.finished_reasoning).passed for checker in rules(item))
    assert 0.3 < obeying / len(requests) < 0.75
    assert built.report["targets"]["without_solution"] == 0


def test_evaluation_has_both_parts_and_training_never_sees_a_held_out_family() -> None:
    items = build(wide(), "evaluation").items
    parts = Counter(item.source for item in items)
    assert parts == {name: 20 for name in ("word_problems", "general", "word_problems+held_out", "general+held_out")}
    for item in items:
        inside = {checker.id.partition(":")[0] in HELD_OUT for checker in rules(item)}
        assert inside == {item.source.endswith("+held_out")}


def test_the_words_come_from_the_wide_pool_and_the_places_vary(built: Built) -> None:
    words = {word for item in built.items for checker in rules(item) for word in checker.kwargs.get("keywords", ())}
    assert words and words <= set(wide_keywords())
    assert any(item.messages[0]["role"] == "system" for item in built.items)
    assert 0.4 < sum(item.bare is not None for item in built.items) / len(built.items) < 0.8


def test_word_classes_and_bands_narrow_the_pool() -> None:
    keys = {"variety": "wide", "word_classes": ["adverb"], "word_bands": ["common"], "ids": ["keywords:existence"]}
    sampler = Sampler(ConstraintSamplerConfig.model_validate(keys | {"count": [1]}))
    item = PromptItem("a/1", PromptStyle().messages("How many?"), "9", (), "a", "How many?")
    drawn = [rules(sampler.attach(PromptItem(f"a/{n}", item.messages, "9"))) for n in range(20)]
    named = {word for (checker,) in drawn for word in checker.kwargs["keywords"]}
    assert named <= set(wide_keywords(("adverb",), ("common",)))


def test_a_family_stands_for_its_ids_and_a_wrong_one_names_the_nearest() -> None:
    sampler = Sampler(ConstraintSamplerConfig(ids=["startend", "punctuation"]))
    assert {name.partition(":")[0] for name in sampler.ids()} == {"startend", "punctuation"} and len(sampler.ids()) == 5
    with pytest.raises(ConstraintError, match="did you mean 'paragraphs'"):
        Sampler(ConstraintSamplerConfig.model_validate({"hold_out": {"ids": ["paragraph"]}}))


@pytest.mark.parametrize("words", [2, 3])
def test_a_box_alone_is_no_text_that_shows_satisfiability(words: int) -> None:
    bound = [prepare("length_constraint_checkers:number_words", {"num_words": words, "relation": "less than"})]
    assert not satisfiable("9", bound, "3 + 6 = 9.")
    assert satisfiable(
        "9", [prepare("length_constraint_checkers:number_words", {"num_words": 30, "relation": "less than"})]
    )


def test_the_worked_solution_decides_and_not_a_box() -> None:
    """A solution whose formula has a comma that cannot go is not made free of commas by leaving it out."""
    comma = [prepare("punctuation:no_comma")]
    text = worked_text("9", comma, "First 4 + 2 = 6, then 6 + 3 = 9.")
    assert text is not None and "4 + 2 = 6 then" in text and "," not in text


def test_the_key_of_the_data_follows_a_generators_source(monkeypatch: pytest.MonkeyPatch) -> None:
    from adhere.prompts import fingerprint as module

    before = fingerprint(wide(), "train")
    assert before == fingerprint(wide(), "train")
    monkeypatch.setattr(module, "_hash_file", lambda path: "changed")
    assert fingerprint(wide(), "train") != before
