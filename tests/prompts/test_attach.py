"""Constraints on maths prompts: seeded, free of conflicts, satisfiable, and nothing held out."""

import random
from typing import Any

import pytest

from adhere.prompts.attach import Sampler, satisfiable, without_constraints
from adhere.prompts.config import ConstraintSamplerConfig, HoldOutConfig
from adhere.prompts.item import PromptItem
from adhere.prompts.probes import PROBES
from adhere.prompts.sources import PromptStyle
from adhere.rewards.constraints import MATHIF_KEYWORDS, conflicts, prepare, registry
from adhere.rewards.errors import ConstraintError, DataError

QUESTION = "Ann has 12 apples, and eats 3. How many are left?"
GOLDS = ("9", "\\frac{1}{2}", "1,234", "-0.5", "(2,3)")


def items(count: int, gold: str | None = None) -> list[PromptItem]:
    return [
        PromptItem(f"gsm/{n}", PromptStyle().messages(QUESTION), gold or GOLDS[n % len(GOLDS)], (), "gsm", QUESTION)
        for n in range(count)
    ]


def attach(todo: list[PromptItem], only_held_out: bool = False, **keys: Any) -> list[PromptItem]:
    sampler = Sampler(ConstraintSamplerConfig(**keys), only_held_out)
    return [sampler.attach(item) for item in todo]


def asked(item: PromptItem) -> list[tuple[str, dict[str, Any]]]:
    return [(r.check.constraint, dict(r.check.kwargs)) for r in item.checklist]


def words(item: PromptItem) -> set[str]:
    found: set[str] = set()
    for _, kwargs in asked(item):
        for key in ("keyword", "keywords", "forbidden_words"):
            value = kwargs.get(key, ())
            found |= {value} if isinstance(value, str) else set(value)
    return found


def test_an_items_constraints_depend_on_seed_and_id_alone() -> None:
    once = attach(items(20))
    assert once == attach(items(20))
    assert once[7:9] == attach(items(20)[7:9])
    assert [asked(item) for item in once] != [asked(item) for item in attach(items(20), seed=1)]


def test_counts_follow_the_proportions_and_the_share() -> None:
    built = attach(items(200), count=[0, 1, 1], share=0.5)
    sizes = [len(item.checklist) for item in built]
    assert set(sizes) == {0, 2, 3}
    assert 70 <= sizes.count(0) <= 130
    assert 25 <= sizes.count(2) <= 75


def test_what_is_attached_can_be_met_together_with_the_gold_answer() -> None:
    built = attach(items(60))
    for item in built:
        drawn = asked(item)
        assert satisfiable(item.answer, [prepare(*rule) for rule in drawn])
        assert not any(conflicts(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
        assert len({name for name, _ in drawn}) == len(drawn)
    assert len({name for item in built for name, _ in asked(item)}) >= 12


def test_the_prompt_asks_for_what_is_checked_and_can_be_asked_without() -> None:
    for item, plain in zip(attach(items(20)), items(20), strict=True):
        content = item.messages[-1]["content"]
        assert content.startswith(plain.messages[-1]["content"])
        assert all(requirement.text in content for requirement in item.checklist)
        assert without_constraints(item) == plain


def test_paraphrases_vary_the_wording_and_can_be_switched_off() -> None:
    def wordings(**keys: Any) -> set[str]:
        built = attach(items(40, "9"), ids=["punctuation:no_comma"], count=[1], **keys)
        return {item.checklist[0].text for item in built if item.checklist}

    assert len(wordings()) > 1
    assert len(wordings(paraphrase=False)) == 1


def test_no_word_of_mathif_enters_training() -> None:
    assert not any(words(item) & MATHIF_KEYWORDS for item in attach(items(150)))
    word = sorted(MATHIF_KEYWORDS)[0]
    with pytest.raises(DataError, match=f"{word} belong to MathIF"):
        attach(items(1), keywords=["apple", word])


def test_held_out_ids_words_and_ranges_are_never_attached_and_only_them_when_asked() -> None:
    hold_out = HoldOutConfig(ids=["startend:quotation"], keywords=["orange", "violet"], ranges={"num_bullets": (4, 5)})
    pool = ["orange", "violet", "table", "garden", "window"]

    def is_held_out(name: str, kwargs: dict[str, Any]) -> bool:
        named = {kwargs.get("keyword"), *kwargs.get("keywords", ()), *kwargs.get("forbidden_words", ())}
        in_range = 4 <= kwargs.get("num_bullets", 0) <= 5
        return name == "startend:quotation" or bool(named & {"orange", "violet"}) or in_range

    shown = attach(items(100), hold_out=hold_out, keywords=pool)
    assert not any(is_held_out(*one) for item in shown for one in asked(item))
    other = attach(items(60), only_held_out=True, hold_out=hold_out, keywords=pool, count=[1, 1])
    assert all(is_held_out(*one) for item in other for one in asked(item))
    assert {"startend:quotation", "detectable_format:number_bullet_lists"} <= {
        name for item in other for name, _ in asked(item)
    }


def test_ranges_and_keywords_reach_the_arguments() -> None:
    built = attach(items(20), ids=["detectable_format:number_bullet_lists"], count=[1], ranges={"num_bullets": (2, 2)})
    assert all(asked(item)[0][1] == {"num_bullets": 2} for item in built)
    built = attach(items(20), ids=["keywords:existence"], count=[1], keywords=["table", "garden", "window"])
    assert set.union(*(words(item) for item in built)) <= {"table", "garden", "window"}


def test_a_gold_that_a_constraint_rules_out_is_never_asked_for_both() -> None:
    comma = [prepare("punctuation:no_comma")]
    assert satisfiable("9", comma)
    assert not satisfiable("(2,3)", comma)
    with pytest.raises(DataError, match=r"item 'gsm/0' \(gold '\(2,3\)'\): none of 20 draws"):
        attach(items(1, "(2,3)"), ids=["punctuation:no_comma"], count=[1], tries=20)


def test_items_without_a_gold_get_constraints_too() -> None:
    question = "Tell me about rain."
    plain = PromptItem("chat/1", PromptStyle().messages(question), None, question=question)
    assert attach([plain], count=[1])[0].checklist


def test_unknown_ids_name_the_nearest_and_holding_out_everything_is_refused() -> None:
    with pytest.raises(ConstraintError, match=r"constraints\.ids: .*did you mean 'punctuation:no_comma'"):
        attach(items(1), ids=["punctuation:no_commas"])
    with pytest.raises(ConstraintError, match=r"constraints\.hold_out\.ids: unknown"):
        attach(items(1), hold_out=HoldOutConfig(ids=["no:such"]))
    with pytest.raises(DataError, match="no constraint is left"):
        attach(items(1), hold_out=HoldOutConfig(ids=list(registry())))


def test_without_ids_only_mathifs_collection_is_drawn_from() -> None:
    mathif = {name for name, constraint in registry().items() if constraint.collection == "mathif"}
    assert set(Sampler(ConstraintSamplerConfig()).ids()) == mathif - {"language:response_language"}
    held = HoldOutConfig(keywords=["orange", "violet"], ranges={"num_words": (40, 60)})
    assert set(Sampler(ConstraintSamplerConfig(hold_out=held), only_held_out=True).ids()) < mathif


def test_a_collection_stands_for_its_ids() -> None:
    drawn = Sampler(ConstraintSamplerConfig(ids=["ifeval", "punctuation:no_comma"])).ids()
    assert len(drawn) == 12 and "combination:two_responses" in drawn and "punctuation:no_comma" in drawn
    held = HoldOutConfig(ids=["reasonif"])
    config = ConstraintSamplerConfig(ids=["mathif", "reasonif"], hold_out=held)
    assert len(Sampler(config).ids()) == 15
    assert {name.partition(":")[0] for name in Sampler(config, only_held_out=True).ids()} == {"reasoning"}
    with pytest.raises(ConstraintError, match=r"'ifevall' \(did you mean 'ifeval'\?\).*collections mathif"):
        attach(items(1), ids=["ifevall"])
    with pytest.raises(DataError, match="no constraint is left"):
        attach(items(1), ids=["combination:two_responses"], hold_out=HoldOutConfig(ids=["ifeval"]))


@pytest.mark.parametrize("collection", ["ifeval", "reasonif"])
def test_every_id_of_a_collection_can_be_attached_to_a_problem(collection: str) -> None:
    built = attach(items(120), ids=[collection], count=[1])
    names = {name for item in built for name, _ in asked(item)}
    assert names == set(Sampler(ConstraintSamplerConfig(ids=[collection])).ids())
    assert all(satisfiable(item.answer, [prepare(*rule) for rule in asked(item)]) for item in built)


@pytest.mark.parametrize("language", sorted(PROBES))
def test_an_answer_in_every_language_can_be_shown_to_exist(language: str) -> None:
    assert satisfiable("12", [prepare("language:response_language", {"language": language})])


def test_every_gold_meets_most_pairs_of_constraints() -> None:
    rng = random.Random(0)
    built = attach(items(40, "\\frac{3}{4}"), count=[0, 0, 1], seed=rng.randrange(100))
    assert all(len(item.checklist) == 3 for item in built)
