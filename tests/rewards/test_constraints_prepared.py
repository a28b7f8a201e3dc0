"""A prepared constraint decides as ``check`` does, and the fast counters count what their definitions say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adhere.rewards.checklist import Requirement, RuleCheck, score_checklist
from adhere.rewards.constraints import check, follow, follow_prepared, prepare
from adhere.rewards.constraints.core.constraint import Mode
from adhere.rewards.constraints.families.length_constraint_checkers import official_words
from adhere.rewards.constraints.text.segmentation import capital_tokens, treebank_tokens, words
from adhere.rewards.constraints.text.views import without_commands
from adhere.rewards.errors import ConstraintError

_TELLING = (
    "CAN|CANnot |CANNOT|CAn't|N'T|'ye|D'ye|IBM's |U.S.|(NASA),|WORD.|ÉA|aÉ|—A|ǅ|A|a|I|'|''|_|_'_|don't|\n| |\u2028|..."
    "|--|:5|1|’|ß|GİMme|\x1c"
)
PIECES = st.sampled_from(_TELLING.split("|"))
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40)


@given(TEXTS)
def test_capital_tokens_are_those_of_the_whole_text(text: str) -> None:
    assert capital_tokens(text) == sum(token.isupper() for token in treebank_tokens(text))


@given(TEXTS)
def test_words_are_the_matches_of_their_patterns(text: str) -> None:
    assert official_words(text) == len(re.findall(r"\w+", text))
    assert words(text) == sum(
        bool(word.strip("_")) for word in re.findall(r"\w++(?:['’]\w++)*", without_commands(text))
    )


@pytest.mark.parametrize("mode", ["compat", "hardened"])
@pytest.mark.parametrize("text", ["", " \n", "\u200b", "One, two.", "No comma here."])
def test_a_prepared_constraint_decides_as_check_does(text: str, mode: Mode) -> None:
    checker = prepare("punctuation:no_comma", {}, mode)
    assert checker(text) == check("punctuation:no_comma", text, {}, mode)


def test_preparing_validates() -> None:
    with pytest.raises(ConstraintError, match="did you mean 'punctuation:no_comma'"):
        prepare("punctuation:no_coma")
    with pytest.raises(ConstraintError, match="num_words"):
        prepare("length_constraints:number_words", {"num_words": 0, "relation": "at least"})


def test_one_set_of_checkers_serves_all_responses_of_a_prompt() -> None:
    wishes = [("punctuation:no_comma", None), ("startend:quotation", None)]
    checkers = [prepare(key, kwargs, "compat") for key, kwargs in wishes]
    for response in ("a, b", '"a"', '"a, b"', 'Here:\n"a b"', ""):
        assert follow_prepared(response, checkers) == follow(response, wishes)


def test_a_rule_is_prepared_once_for_all_responses() -> None:
    rule = RuleCheck("punctuation:no_comma")
    assert [score_checklist(text, [Requirement("r", "No commas.", rule)]).score for text in ("a, b", "a")] == [0.0, 1.0]
    assert rule.checker("hardened") is rule.checker("hardened")
    assert rule == RuleCheck("punctuation:no_comma")
