"""Pairs of constraints that must not stand in one prompt: one implies the other, or the two contradict each other."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest

from adhere.rewards.constraints import comply, conflicts, prepare, redundant, registry, sample_checker

Named = tuple[str, dict[str, Any]]
M_WORDS, I_WORDS = "length_constraint_checkers:number_words", "length_constraints:number_words"
SENTENCES, EXISTENCE, FREQUENCY = "length_constraints:number_sentences", "keywords:existence", "keywords:frequency"
FORBIDDEN, LETTER, LETTER2 = "keywords:forbidden_words", "keywords:letter_frequency", "letters:letter_counting2"
LOWER, UPPER, CAPITALS = (
    f"change_case:{x}" for x in ("english_lowercase", "english_capital", "capital_word_frequency")
)
END, COMMA, DOT = "startend:end_checker", "punctuation:no_comma", "punctuation:punctuation_dot"


def least(name: str, key: str, count: int, relation: str = "at least") -> Named:
    return name, {key: count, "relation": relation}


def below(name: str, key: str, count: int) -> Named:
    return least(name, key, count, "less than")


def word(name: str, text: str, **more: Any) -> Named:
    key = {"last_word:last_word_answer": "last_word", "first_word:first_word_answer": "first_word"}.get(name, "keyword")
    return name, {key: text, **more}


def often(text: str, count: int, relation: str = "at least") -> Named:
    return word(FREQUENCY, text, frequency=count, relation=relation)


def letter(name: str, text: str, count: int, relation: str = "at least") -> Named:
    return name, {"letter": text, "let_frequency": count, "let_relation": relation}


REDUNDANT: list[tuple[Named, Named]] = [
    (least(M_WORDS, "num_words", 7), least(M_WORDS, "num_words", 9)),
    (least(M_WORDS, "num_words", 70), least(I_WORDS, "num_words", 90)),
    (below(M_WORDS, "num_words", 70), below(I_WORDS, "num_words", 90)),
    (least(SENTENCES, "num_sentences", 4), least(SENTENCES, "num_sentences", 6)),
    (below("letters:letter_counting", "N", 200), below("letters:letter_counting", "N", 400)),
    (letter(LETTER, "e", 5), letter(LETTER2, "e", 9)),
    ((EXISTENCE, {"keywords": ["river"]}), often("river", 2)),
    ((EXISTENCE, {"keywords": ["river"]}), (EXISTENCE, {"keywords": ["tree", "River"]})),
    ((EXISTENCE, {"keywords": ["river"]}), word("keywords:word_once", "river")),
    ((EXISTENCE, {"keywords": ["tree"]}), ("count:count_increment_word", {"keyword1": "river", "keyword2": "tree"})),
    ((EXISTENCE, {"keywords": ["river"]}), word("last_word:last_word_answer", "river")),
    ((EXISTENCE, {"keywords": ["river"]}), word("first_word:first_word_answer", "river")),
    ((EXISTENCE, {"keywords": ["plan"]}), (END, {"end_phrase": "Good luck with our plan."})),
    ((EXISTENCE, {"keywords": ["apples"]}), ("combination:repeat_prompt", {"prompt_to_repeat": "How many apples?"})),
    (often("river", 2), word("keywords:word_count_different_numbers", "river", frequency=3, relation="at least")),
    (often("river", 3, "less than"), (FORBIDDEN, {"forbidden_words": ["river"]})),
    ((FORBIDDEN, {"forbidden_words": ["river", "tree"]}), word("keywords:exclude_word_harder", "river")),
    ((LOWER, {}), (CAPITALS, {"capital_frequency": 3, "capital_relation": "less than"})),
    ((UPPER, {}), ("count:lowercase_counting", {"N": 10})),
    (("detectable_format:number_highlighted_sections", {"num_highlights": 1}),
     ("detectable_format:number_highlighted_sections", {"num_highlights": 3})),
    (("paragraphs:paragraphs", {}), ("length_constraints:number_paragraphs", {"num_paragraphs": 2})),
    (word("first_word:first_word_answer", "river"), ("first_word:first_word_sent", {"first_word": "river"})),
    (("last_word:last_word_answer", {"last_word": "river"}), ("last_word:last_word_sent", {"last_word": "river"})),
    ((COMMA, {}), (COMMA, {})),
    (("reasoning:number_words", {"num_words": 80}), ("reasoning:number_words", {"num_words": 100})),
]  # fmt: skip

APART: list[tuple[Named, Named]] = [
    (least(M_WORDS, "num_words", 40), below(I_WORDS, "num_words", 90)),
    (least(M_WORDS, "num_words", 50), least(SENTENCES, "num_sentences", 3)),
    (below(M_WORDS, "num_words", 100), below(SENTENCES, "num_sentences", 5)),
    (below(M_WORDS, "num_words", 100), below("letters:letter_counting", "N", 400)),
    (below(M_WORDS, "num_words", 40), (COMMA, {})),
    (below(M_WORDS, "num_words", 100), (FORBIDDEN, {"forbidden_words": ["river", "tree"]})),
    (letter(LETTER, "e", 5), letter(LETTER, "a", 5)),
    (letter(LETTER, "q", 5, "less than"), (COMMA, {})),
    ((EXISTENCE, {"keywords": ["river"]}), often("tree", 2)),
    ((EXISTENCE, {"keywords": ["river"]}), often("river", 3, "less than")),
    ((EXISTENCE, {"keywords": ["plans"]}), (END, {"end_phrase": "Good luck with our plan."})),
    ((FORBIDDEN, {"forbidden_words": ["river"]}), word("keywords:exclude_word_harder", "tree")),
    ((LOWER, {}), (COMMA, {})),
    ((COMMA, {}), (END, {"end_phrase": "That is all."})),
    ((DOT, {}), ("punctuation:punctuation_exclamation", {})),
    (("detectable_format:number_highlighted_sections", {"num_highlights": 2}), ("detectable_format:title", {})),
    (("reasoning:number_words", {"num_words": 80}), below(M_WORDS, "num_words", 100)),
]

CONTRADICTORY: list[tuple[Named, Named]] = [
    ((EXISTENCE, {"keywords": ["tree", "river"]}), (FORBIDDEN, {"forbidden_words": ["River"]})),
    ((EXISTENCE, {"keywords": ["river"]}), word("keywords:exclude_word_harder", "river")),
    (often("river", 2), (FORBIDDEN, {"forbidden_words": ["river"]})),
    (often("river", 2), word("keywords:word_once", "river")),
    (often("river", 3), often("river", 2, "less than")),
    (word("last_word:last_word_answer", "river"), (FORBIDDEN, {"forbidden_words": ["river"]})),
    (word("first_word:first_word_answer", "river"), word("keywords:exclude_word_harder", "river")),
    ((END, {"end_phrase": "See you by the river."}), (FORBIDDEN, {"forbidden_words": ["river"]})),
    (("combination:repeat_prompt", {"prompt_to_repeat": "Which river?"}), (FORBIDDEN, {"forbidden_words": ["river"]})),
    ((LOWER, {}), (UPPER, {})),
    ((LOWER, {}), (CAPITALS, {"capital_frequency": 2, "capital_relation": "at least"})),
    ((UPPER, {}), (CAPITALS, {"capital_frequency": 2, "capital_relation": "less than"})),
    ((COMMA, {}), (END, {"end_phrase": "See you, friend."})),
    ((DOT, {}), (END, {"end_phrase": "That is all."})),
    (("punctuation:punctuation_exclamation", {}), (END, {"end_phrase": "See you!"})),
    ((COMMA, {}), ("combination:repeat_prompt", {"prompt_to_repeat": "Ann, how are you?"})),
    ((LOWER, {}), ("combination:repeat_prompt", {"prompt_to_repeat": "How are you?"})),
    (least(M_WORDS, "num_words", 90), below(I_WORDS, "num_words", 70)),
    (least(M_WORDS, "num_words", 90), below("letters:letter_counting", "N", 100)),
    (least(SENTENCES, "num_sentences", 6), below(SENTENCES, "num_sentences", 4)),
    (letter(LETTER, "z", 2, "less than"), (EXISTENCE, {"keywords": ["puzzle"]})),
    (letter(LETTER2, "q", 1, "less than"), (END, {"end_phrase": "That was quick."})),
    (letter(LETTER, "e", 9), letter(LETTER2, "e", 4, "less than")),
    (("last_word:last_word_answer", {"last_word": "river"}), (END, {"end_phrase": "That is all."})),
    (("startend:quotation", {}), ("keywords:start_end", {})),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two"), REDUNDANT)
def test_a_pair_in_which_one_implies_the_other_is_redundant(one: Named, two: Named) -> None:
    assert redundant(one, two) and redundant(two, one)


@pytest.mark.parametrize(("one", "two"), APART)
def test_a_near_miss_is_kept(one: Named, two: Named) -> None:
    assert not redundant(one, two) and not redundant(two, one)


@pytest.mark.parametrize(("one", "two"), CONTRADICTORY)
def test_a_contradictory_pair_has_no_text(one: Named, two: Named) -> None:
    for draft in ("We add the amounts. The final answer is \\boxed{9}.", "Nothing is left to say here."):
        assert comply(draft, [one, two]) is None and comply(draft, [two, one]) is None


@pytest.mark.parametrize("seed", range(2))
def test_over_all_pairs_of_kinds_the_order_does_not_matter_and_most_are_kept(seed: int) -> None:
    """With three words in the pool most pairs that can meet do meet."""
    rng = random.Random(seed)
    pool = ["river", "tree", "garden"]
    kept = 0
    for one, two in combinations(registry(), 2):
        a, b = (sample_checker(name, rng, keywords=pool, question="How many apples are left?") for name in (one, two))
        if conflicts(a, b) or redundant(a, b):
            continue
        kept += 1
        assert not redundant(b, a)
    assert kept > 900


def test_a_constraint_that_no_draft_fails_is_not_called_redundant() -> None:
    never = prepare(least(M_WORDS, "num_words", 1_000_000)[0], {"num_words": 1_000_000, "relation": "less than"})
    assert not redundant(never, prepare(COMMA))
