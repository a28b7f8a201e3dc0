"""From drafts to a checklist: rules mapped, repeated and contradictory requirements dropped with a reason."""

from __future__ import annotations

from adhere.rewards.checklist.generation.reply import Draft
from adhere.rewards.checklist.generation.review import Candidate, keep_heaviest, review
from adhere.rewards.checklist.requirement import RuleCheck

NO_COMMA = "Does the response contain no commas?"


def reviewed(*pairs: tuple[str, float], **options: object):
    return review([Draft(text, weight) for text, weight in pairs], **options)


def test_rules_are_mapped_and_the_order_stays() -> None:
    made = reviewed(("Does the response praise Paris?", 20), (NO_COMMA, 90))
    assert [one.text for one in made.kept] == ["Does the response praise Paris?", NO_COMMA]
    assert made.kept[0].row("r1")["check"] == {"type": "judge"}
    rule = {"type": "rule", "constraint": "punctuation:no_comma", "kwargs": {}}
    assert made.kept[1].row("r2") == {"id": "r2", "text": NO_COMMA, "weight": 90, "check": rule}


def test_of_two_that_say_the_same_the_heavier_one_stays() -> None:
    made = reviewed(("Does the response praise Paris?", 20), ("Does the answer praise Paris?", 60))
    assert [one.text for one in made.kept] == ["Does the answer praise Paris?"]
    assert [drop.reason for drop in made.dropped] == ["repeats: Does the answer praise Paris?"]
    twice = reviewed((NO_COMMA, 90), ("Does the response avoid commas?", 80))
    assert [drop.reason for drop in twice.dropped] == [f"repeats: {NO_COMMA}"]


def test_of_two_that_contradict_the_heavier_one_stays() -> None:
    few, many = "Is the response under 50 words?", "Is the response at least 80 words long?"
    made = reviewed((few, 40), (many, 75))
    assert [one.text for one in made.kept] == [many]
    assert [drop.reason for drop in made.dropped] == [f"contradicts: {many}"]
    texts = reviewed(("Does the response use humour?", 75), ("Does the response avoid humour?", 40))
    assert [drop.reason for drop in texts.dropped] == ["contradicts: Does the response use humour?"]


def test_what_the_item_demands_already_always_stays() -> None:
    rule = RuleCheck("detectable_format:number_bullet_lists", {"num_bullets": 2})
    before = Candidate("Give exactly 2 bullet points.", 10.0, rule, fixed=True)
    made = reviewed(("Does the response contain exactly 3 bullet points?", 100), (NO_COMMA, 5), existing=[before])
    assert [one.text for one in made.kept] == [NO_COMMA]
    assert made.dropped[0].reason == "contradicts: Give exactly 2 bullet points."


def test_the_lightest_beyond_the_limit_go() -> None:
    made = reviewed(*((f"Does the response name town {n}?", float(n)) for n in range(10)))
    keep_heaviest(made, 7)
    assert [one.weight for one in made.kept] == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert {drop.reason for drop in made.dropped} == {"more than 7 requirements, and the lightest"}
