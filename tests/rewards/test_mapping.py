"""From text to rule: every phrasing of the library finds back, other wordings are known, look-alikes stay unmapped."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from adhere.rewards.checklist.generation.prompts import FORMS
from adhere.rewards.checklist.mapping import map_requirement, phrased
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.constraints import check, describe, paraphrases, registry, sample, validate

QUESTION = "Tom has 3 apples, and then he buys 4 more. How many apples does Tom have now?"


@pytest.mark.parametrize("constraint", registry())
def test_every_phrasing_finds_its_constraint_and_arguments(constraint: str) -> None:
    for variant in range(paraphrases(constraint)):
        for seed in range(8):
            kwargs = sample(constraint, random.Random(seed), question=QUESTION)
            text = describe(constraint, kwargs, variant)
            assert RuleCheck(constraint, kwargs) in phrased(text, QUESTION), text
            found = map_requirement(text, question=QUESTION)
            assert found is not None, text
            # Two ids may share a phrasing; whichever is taken has to ask for it in the very same words.
            said = [describe(found.constraint, found.kwargs, v) for v in range(paraphrases(found.constraint))]
            assert text in said


@pytest.mark.parametrize("constraint", registry())
def test_case_and_white_space_do_not_matter(constraint: str) -> None:
    kwargs = sample(constraint, random.Random(1), question=QUESTION)
    text = describe(constraint, kwargs)
    found = phrased("  " + text.replace(" ", "\n ").swapcase() + "\n", QUESTION)
    assert constraint in {check.constraint for check in found}


BULLETS, WORDS = "detectable_format:number_bullet_lists", "length_constraint_checkers:number_words"
WORDED: dict[str, tuple[str, dict[str, Any]]] = {
    "Does the response contain exactly 3 bullet points?": (BULLETS, {"num_bullets": 3}),
    "Are there exactly four bullet points in the answer?": (BULLETS, {"num_bullets": 4}),
    "Is the response at least 150 words long?": (WORDS, {"num_words": 150, "relation": "at least"}),
    "Does the response contain more than 1,000 words?": (WORDS, {"num_words": 1001, "relation": "at least"}),
    "Is the response under 50 words?": (WORDS, {"num_words": 50, "relation": "less than"}),
    "The response must not exceed 50 words.": (WORDS, {"num_words": 51, "relation": "less than"}),
    "Is the response 80 words or fewer?": (WORDS, {"num_words": 81, "relation": "less than"}),
    "Does the response avoid commas?": ("punctuation:no_comma", {}),
    "Does the response avoid using any commas?": ("punctuation:no_comma", {}),
    "Does the response not contain any commas?": ("punctuation:no_comma", {}),
    "Is the response free of commas?": ("punctuation:no_comma", {}),
    "The response contains no commas.": ("punctuation:no_comma", {}),
    "Do not use commas": ("punctuation:no_comma", {}),
    "Is the entire response in lowercase English letters?": ("change_case:english_lowercase", {}),
    "Is the response written in English, and in all capital letters?": ("change_case:english_capital", {}),
    'Does the response include the keywords "alpha", "beta" and "gamma"?': (
        "keywords:existence",
        {"keywords": ["alpha", "beta", "gamma"]},
    ),
    "Does the response mention “Zürich”?": ("keywords:existence", {"keywords": ["Zürich"]}),
    'Does the word "alpha" appear in the response?': ("keywords:existence", {"keywords": ["alpha"]}),
    'Does the response avoid the words "alpha" or "beta"?': (
        "keywords:forbidden_words",
        {"forbidden_words": ["alpha", "beta"]},
    ),
    'Does the response not mention "alpha"?': ("keywords:forbidden_words", {"forbidden_words": ["alpha"]}),
    'Does the response use the word "alpha" at least twice?': (
        "keywords:frequency",
        {"keyword": "alpha", "frequency": 2, "relation": "at least"},
    ),
    'Does the word "alpha" appear no more than 3 times in the response?': (
        "keywords:frequency",
        {"keyword": "alpha", "frequency": 4, "relation": "less than"},
    ),
    'Does the response end with the exact phrase "Bye now."?': ("startend:end_checker", {"end_phrase": "Bye now."}),
    "Is the entire response wrapped in double quotation marks?": ("startend:quotation", {}),
    "Is the answer written entirely in French?": ("language:response_language", {"language": "fr"}),
    'Does the response have exactly 3 sections, each marked with "PART X"?': (
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 3},
    ),
    "Does the response contain at least 4 words in all caps?": (
        "change_case:capital_word_frequency",
        {"capital_frequency": 4, "capital_relation": "at least"},
    ),
}


@pytest.mark.parametrize("text", WORDED)
def test_other_wordings_are_known(text: str) -> None:
    assert map_requirement(text) == RuleCheck(*WORDED[text])


@pytest.mark.parametrize(
    ("text", "constraint", "kwargs"),
    [
        ("Is the entire response valid JSON?", "detectable_format:json_format", {}),
        ("Does the response have a title wrapped in double angular brackets?", "detectable_format:title", {}),
        (
            "Does the response contain at least 3 placeholders in square brackets?",
            "detectable_content:number_placeholders",
            {"num_placeholders": 3},
        ),
        (
            "Does the response contain fewer than 5 sentences?",
            "length_constraints:number_sentences",
            {"num_sentences": 5, "relation": "less than"},
        ),
        (
            'Does the letter "q" appear at least 6 times in the response?',
            "keywords:letter_frequency",
            {"letter": "q", "let_frequency": 6, "let_relation": "at least"},
        ),
    ],
)
def test_wordings_of_optional_constraints_are_known(text: str, constraint: str, kwargs: dict[str, Any]) -> None:
    if constraint not in registry():
        pytest.skip(f"{constraint} is not registered")
    assert map_requirement(text) == RuleCheck(constraint, kwargs)


@pytest.mark.parametrize(
    ("folder", "wanted"), [("mathif", ("constraint_desc", "constraint_name", "constraint_args"))], ids=["MathIF"]
)
def test_what_others_wrote_is_mapped_rightly_or_not_at_all(folder: str, wanted: tuple[str, ...]) -> None:
    files = sorted((Path(__file__).parents[3] / "shared" / "data" / folder).glob("*.jsonl"))
    if not files:
        pytest.skip("needs MathIF's prompts in ../shared/data/mathif")
    right = total = 0
    for line in (line for path in files for line in path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        for text, name, kwargs in zip(*(row[key] for key in wanted), strict=True):
            total += 1
            found = map_requirement(text, question=row["question"], english=True)
            if found is not None:
                assert found == RuleCheck(name, validate(name, kwargs)), text
                right += 1
    assert right / total > 0.8


@pytest.mark.parametrize("text", FORMS)
def test_every_form_that_the_prompt_recommends_is_mapped(text: str) -> None:
    assert map_requirement(text) is not None


LOOK_ALIKES = """
Does the response contain at least 3 bullet points?
Does the response contain 3 bullet points?
Does the response contain about 150 words?
Does the response contain exactly 150 words?
Does the response contain between 100 and 150 words?
Is the response at least 150 words long, unless it is a poem?
Does the first paragraph contain at least 150 words?
Does each section contain at least 150 words?
Does the response contain at least 150 words per section?
Does the response not contain at least 150 words?
Does the response avoid having fewer than 150 words?
Does the response contain at least 0 words?
Does the response contain less than one word?
Does the response contain no commas in its title?
Does the response contain no commas or semicolons?
Does the response contain commas?
Does the response use commas correctly?
Does the response avoid avoiding commas?
Does the response not avoid commas?
Is the response not free of commas?
Does the title contain no commas?
Is the response not in all lowercase English letters?
Is the first word in capital letters?
Is the title in lowercase English letters?
Is the response not written in French?
Is the response written in French or German?
Is the response written in Chinese?
Is the response written in simple French?
Is the quotation in the response written in French?
Does the response explain French grammar?
Does the response mention "alpha" or "beta"?
Does the response not mention both "alpha" and something else?
Does the response include the word "alpha" in the first sentence?
Does the response mention alpha?
Does the response define "alpha"?
Does the response avoid the word "alpha" in the title?
Does the response use the word "alpha" exactly twice?
Does the response use the word "alpha" at least twice in each paragraph?
Does the word "alpha" never appear at least twice in the response?
Does the response end with a question?
Does the response not end with the phrase "Bye."?
Does each paragraph end with the phrase "Bye."?
Does the response begin with the phrase "Bye."?
Is the response enclosed in quotation marks?
Is the last sentence enclosed in double quotation marks?
Is the response not enclosed in double quotation marks?
Does the response have 3 sections?
Does the response have at least 3 sections, each marked with "PART X"?
Never write about cats.
Answer in French only if asked.
Use only what you know.
Avoid long sentences.
Is 7 the final answer?
""".strip().splitlines()


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_look_alikes_stay_unmapped(text: str) -> None:
    assert map_requirement(text, question=QUESTION, english=True) is None


def test_a_demand_for_capitals_is_mapped_only_where_english_is_certain() -> None:
    text = "Is the response written in all capital letters?"
    assert map_requirement(text) is None
    assert map_requirement(text, english=True) == RuleCheck("change_case:english_capital", {})


def test_a_repeated_request_needs_the_question() -> None:
    text = describe("combination:repeat_prompt", {"prompt_to_repeat": QUESTION}, 1)
    assert map_requirement(text) is None
    found = map_requirement(text, question=QUESTION)
    assert found == RuleCheck("combination:repeat_prompt", {"prompt_to_repeat": QUESTION})


def test_arguments_that_cannot_be_told_apart_leave_a_text_unmapped() -> None:
    assert map_requirement('The word "alpha" and "beta" has to be written at least twice in your answer.') is None


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("Does the response contain no more than 5 words?", "One two three four five.", "One two three four five six."),
        ("Does the response contain more than 5 words?", "One two three four five six.", "One two three four five."),
        ('Does the word "so" appear at most once in the response?', "So be it.", "So it is, and so be it."),
        ('Does the word "so" appear more than once in the response?', "So it is, and so be it.", "So be it."),
    ],
)
def test_bounds_are_neither_one_too_high_nor_one_too_low(text: str, good: str, bad: str) -> None:
    found = map_requirement(text)
    assert found is not None
    assert check(found.constraint, good, found.kwargs).passed
    assert not check(found.constraint, bad, found.kwargs).passed


def test_huge_and_hostile_texts_are_left_to_the_judge_at_once() -> None:
    for text in ("a" * 100_000, "Include the keywords " + '"a", ' * 300, "Avoid " * 300, '"' * 1900, ""):
        assert map_requirement(text, question=QUESTION, english=True) is None
