"""Where requirements stand in a prompt: every place asks for all of them, and the prompt can be asked without them."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from pydantic import ValidationError

from adhere.prompts.attach import Sampler, placed, with_constraints, without_constraints
from adhere.prompts.config import ConstraintSamplerConfig
from adhere.prompts.item import PromptItem, parse_item
from adhere.prompts.sources import PromptStyle

QUESTION = "Mr. Hill has 12 apples for $3.50. He eats 3 of them. How many are left?"
PLACES = ("after", "before", "system", "list", "woven", "repeated")
TEXTS = ("Use no comma.", "Write exactly 2 bullet points in markdown, such as:\n* This is a point.", 'End with "Bye."')


def item(number: int = 0, system: str | None = None, question: str = QUESTION) -> PromptItem:
    return PromptItem(f"a/{number}", PromptStyle(system).messages(question), "9", (), "a", question)


def attach(placement: str, size: int = 20, system: str | None = None, **keys: Any) -> list[PromptItem]:
    sampler = Sampler(ConstraintSamplerConfig.model_validate({"placement": {placement: 1}, **keys}))
    return [sampler.attach(item(n, system)) for n in range(size)]


@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("place", PLACES)
def test_each_place_asks_for_everything_and_can_be_asked_without(place: str, system: str | None) -> None:
    for number, built in enumerate(attach(place, system=system)):
        prompt = "\n".join(message["content"] for message in built.messages)
        assert all(requirement.text in prompt for requirement in built.checklist)
        assert without_constraints(built) == item(number, system)
        again = parse_item(built.to_dict(), "row")
        assert again == built and without_constraints(again) == item(number, system)


@pytest.mark.parametrize("place", PLACES)
def test_the_draws_do_not_depend_on_the_place(place: str) -> None:
    assert [one.checklist for one in attach(place)] == [one.checklist for one in attach("after")]


def contents(place: Any, texts: tuple[str, ...] = TEXTS, question: str = QUESTION, seed: int = 0) -> list[str]:
    messages = placed(PromptStyle().messages(question), texts, place, random.Random(seed))
    return [message["content"] for message in messages]


def test_each_place_is_where_its_name_says() -> None:
    asked = f"{QUESTION}\nPut the final answer in \\boxed{{}}."
    joined = " ".join(TEXTS)
    assert contents("after") == [f"{asked} {joined}"]
    assert contents("before") == [f"{joined}\n{asked}"]
    assert contents("system") == [joined, asked]
    listed = contents("list")[0].removeprefix(asked)
    assert re.match(r"\n[^\n]+:\n(- |1\. )Use no comma\.\n(- |2\. )Write", listed)
    (repeated,) = contents("repeated")
    assert repeated.startswith(joined) and repeated.endswith(joined) and repeated.count(joined) == 2


@pytest.mark.parametrize("seed", range(20))
def test_weaving_never_cuts_a_sentence_and_never_loses_one(seed: int) -> None:
    (woven,) = contents("woven", seed=seed)
    rest = woven
    for text in TEXTS:
        assert rest.count(text) == 1
        rest = rest.replace(text, "")
    asked = f"{QUESTION} Put the final answer in \\boxed{{}}."
    assert rest.split() == asked.split()
    assert "Mr. Hill has 12 apples for $3.50." in woven
    assert not woven.startswith(TEXTS) and not re.search(r"\S(Use no|End with)", woven)


@pytest.mark.parametrize("question", ["Tell me about rain", "x", "Is $a. B$ right?"])
def test_weaving_into_one_sentence_puts_the_requirements_at_its_ends(question: str) -> None:
    messages = placed(({"role": "user", "content": question},), TEXTS, "woven", random.Random(1))
    assert question in messages[0]["content"] and all(text in messages[0]["content"] for text in TEXTS)


@pytest.mark.parametrize("place", PLACES)
def test_what_speaks_of_the_request_above_always_stands_after_it(place: str) -> None:
    for built in attach(place, 5, ids=["combination:repeat_prompt"], count=[1]):
        assert built.messages[-1]["content"].startswith(f"{QUESTION}\nPut the final") and len(built.messages) == 1
        assert built.messages[-1]["content"].endswith(built.checklist[0].text)


def test_places_follow_their_proportions_and_the_seed() -> None:
    keys: dict[str, Any] = {"placement": {"after": 1, "system": 1, "before": 0}, "ids": ["punctuation:no_comma"]}
    sampler = Sampler(ConstraintSamplerConfig.model_validate(keys))
    built = [sampler.attach(item(n)) for n in range(60)]
    systems = sum(len(one.messages) == 2 for one in built)
    assert 15 <= systems <= 45
    assert built == [sampler.attach(item(n)) for n in range(60)]
    assert all(one.messages[-1]["content"].startswith(QUESTION) for one in built)


@pytest.mark.parametrize("placement", [{}, {"after": 0}, {"after": -1, "list": 2}, {"below": 1}])
def test_places_that_are_no_proportions_are_refused(placement: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="placement"):
        ConstraintSamplerConfig.model_validate({"placement": placement})


def test_the_usual_place_writes_the_file_that_it_always_wrote() -> None:
    built = with_constraints(item(), ())
    assert built.bare is None and "bare" not in built.to_dict()
