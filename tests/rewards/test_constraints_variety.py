"""The wide pools: words by class and band, wordings of every kind, phrases out of a grammar."""

from __future__ import annotations

import random
import re

import pytest

from adhere.rewards.constraints import (
    MATHIF_KEYWORDS,
    draw_phrase,
    prepare,
    registry,
    sample_checker,
    wide_keywords,
)
from adhere.rewards.constraints.core.variety import WORD_BANDS, WORD_CLASSES, further_wordings, grammar
from adhere.rewards.constraints.text.fillers import FILLERS

QUESTION = "How many apples are left?"


def test_there_are_two_thousand_words_of_four_classes_and_no_word_twice() -> None:
    words = wide_keywords()
    assert len(words) >= 2000 and len(set(words)) == len(words)
    parts = [wide_keywords((kind,), (band,)) for kind in WORD_CLASSES for band in WORD_BANDS]
    assert sorted(word for part in parts for word in part) == sorted(words)
    assert all(len(wide_keywords((kind,))) >= 150 for kind in WORD_CLASSES)
    assert "horse" in wide_keywords(("noun",), ("common",)) and "horse" not in wide_keywords(("verb",))


def test_no_wide_word_touches_mathifs_words_or_the_sentences_that_transforms_add() -> None:
    fillers = set(re.findall(r"[a-z]+", " ".join(FILLERS).lower()))
    for word in wide_keywords():
        assert re.fullmatch(r"[a-z]{4,12}", word)
        assert not [held for held in MATHIF_KEYWORDS if word in held or held in word]
        assert word not in fillers


def test_the_word_file_opens_with_its_licence() -> None:
    from adhere.rewards.constraints.core import variety

    head = (variety._DATA / "keywords.txt").read_text(encoding="utf-8")[:3000]
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in head and 'PROVIDED "AS IS"' in head


@pytest.mark.parametrize("key", list(registry()))
def test_each_kind_has_eight_wordings_that_differ_and_the_first_are_its_phrasings(key: str) -> None:
    constraint = registry()[key]
    checker = sample_checker(key, random.Random(3), question=QUESTION, wide=True)
    texts = [" ".join(checker.describe(variant).lower().split()) for variant in range(len(constraint.wordings))]
    assert len(texts) >= 8 and len(set(texts)) == len(texts)
    assert constraint.wordings[: len(constraint.phrasings)] == constraint.phrasings


def test_the_data_files_name_only_what_exists() -> None:
    assert set(further_wordings()) == set(registry())
    used = {
        name for alternatives in grammar().values() for text in alternatives for name in re.findall(r"\{(\w+)\}", text)
    }
    assert used <= set(grammar())
    assert set(grammar()) - used == {"end", "copy", "disclaimer", "marker"}


def test_the_grammar_gives_many_phrases_and_never_mathifs() -> None:
    rng = random.Random(0)
    ends = {draw_phrase("end", rng) for _ in range(5000)}
    assert len(ends) > 1000 and len({draw_phrase("copy", rng) for _ in range(5000)}) > 3000
    flat = {phrase.lower() for phrase in ends}
    assert not {"any other questions?", "is there anything else i can help with?"} & flat
    assert all(any(mark in phrase for phrase in ends) for mark in ",!?.")


@pytest.mark.parametrize("key", ["startend:end_checker", "copy:repeat_phrase", "reasoning:end_checker"])
def test_every_phrase_that_is_drawn_is_an_argument_that_a_text_can_meet(key: str) -> None:
    seen = set()
    for seed in range(200):
        checker = sample_checker(key, random.Random(seed), question=QUESTION, wide=True)
        assert prepare(key, checker.kwargs) == checker
        done = checker.transform("We add the amounts. The final answer is \\boxed{9}.")
        assert done is not None and checker.meets(done), checker.kwargs
        seen.add(next(value for value in checker.kwargs.values() if isinstance(value, str)))
    assert len(seen) > 70


def test_a_narrow_draw_is_as_it_was() -> None:
    one = sample_checker("startend:end_checker", random.Random(1))
    assert one.kwargs["end_phrase"] in {
        "That is all for today.", "Please tell me what you think of it.", "Hope this was clear!",
        "Would you like one more example?", "Let me know if anything is missing.", "This completes the work.",
    }  # fmt: skip
