"""A prepared constraint decides as ``check`` does, and the fast counters count what their definitions say."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
import regex
from hypothesis import assume, given
from hypothesis import strategies as st

from adhere.prompts.attach import Sampler
from adhere.prompts.config import ConstraintSamplerConfig, SftTargetConfig
from adhere.prompts.item import Message, PromptItem
from adhere.prompts.targets import TargetCounts, build_targets
from adhere.rewards.checklist import Requirement, RuleCheck, parse_checklist, score_checklist
from adhere.rewards.constraints import Constraint, Kwargs, Mode, check, follow, prepare
from adhere.rewards.constraints.text.segmentation import capital_tokens, nltk_tokens, treebank_tokens, word_runs, words
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


@given(st.lists(st.sampled_from(["NASA", "can't", "it", " ", ". ", ", ", '"', "(", ")", "3.5", "-"])).map("".join))
def test_the_two_tokenisers_count_the_same_capitals_in_usual_texts(text: str) -> None:
    assert sum(map(str.isupper, treebank_tokens(text))) == sum(map(str.isupper, nltk_tokens(text)))


def test_the_two_tokenisers_differ_where_a_period_ends_a_token() -> None:
    assert treebank_tokens("CAN'T.“") == ["CA", "N'T", ".", "“"]
    assert nltk_tokens("CAN'T.“") == ["CAN'T.", "“"]


@given(TEXTS)
def test_words_are_the_matches_of_their_patterns(text: str) -> None:
    # characters that this Python does not know yet may be letters to a newer table
    assume(all(unicodedata.category(char) != "Cn" for char in text))
    assert word_runs(text) == len(regex.findall(r"\w+", text))
    assert words(text) == sum(
        bool(word.strip("_")) for word in re.findall(r"\w++(?:['’]\w++)*", without_commands(text))
    )


@pytest.mark.parametrize("mode", ["compat", "hardened"])
@pytest.mark.parametrize("text", ["", " \n", "\u200b", "One, two.", "No comma here."])
def test_a_prepared_constraint_decides_as_check_does(text: str, mode: Mode) -> None:
    checker = prepare("punctuation:no_comma", {})
    assert checker(text, mode) == check("punctuation:no_comma", text, {}, mode)


def test_preparing_validates() -> None:
    with pytest.raises(ConstraintError, match="did you mean 'punctuation:no_comma'"):
        prepare("punctuation:no_coma")
    with pytest.raises(ConstraintError, match="num_words"):
        prepare("length_constraints:number_words", {"num_words": 0, "relation": "at least"})


def test_one_set_of_checkers_serves_all_responses_of_a_prompt() -> None:
    wishes = [("punctuation:no_comma", None), ("startend:quotation", None)]
    checkers = [prepare(key, kwargs) for key, kwargs in wishes]
    for response in ("a, b", '"a"', '"a, b"', 'Here:\n"a b"', ""):
        assert follow(response, checkers) == follow(response, wishes)


def test_a_rule_is_prepared_once_for_all_responses() -> None:
    rule = RuleCheck("punctuation:no_comma")
    assert [score_checklist(text, [Requirement("r", "No commas.", rule)]).score for text in ("a, b", "a")] == [0.0, 1.0]
    assert RuleCheck.of(rule.checker).checker is rule.checker
    assert rule == RuleCheck("punctuation:no_comma")


def test_a_rule_with_bad_arguments_is_refused_where_it_is_made() -> None:
    with pytest.raises(ConstraintError, match="num_words"):
        RuleCheck("length_constraints:number_words", {"num_words": 0, "relation": "at least"})


def test_the_arguments_of_a_data_row_are_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clean = Constraint.clean

    def counting(self: Constraint, kwargs: Kwargs | None, where: str = "") -> dict[str, Any]:
        calls.append(self.id)
        return clean(self, kwargs, where)

    monkeypatch.setattr(Constraint, "clean", counting)
    ids = ["punctuation:no_comma", "keywords:existence"]
    item = PromptItem(
        id="gsm8k:0",
        messages=(Message(role="user", content="How many clips are 48 and 24?"),),
        answer="72",
        checklist=(),
        source="gsm8k",
        question="How many clips are 48 and 24?",
        solution="48 and 24 are 72.",
    )
    sampler = Sampler(ConstraintSamplerConfig(ids=ids, count=[0.0, 1.0], tries=1))
    built = sampler.attach(item)
    assert sorted(calls) == sorted(ids), "drawing validates each draw"
    calls.clear()
    read = parse_checklist([requirement.to_dict() for requirement in built.checklist], "row 1")
    assert sorted(calls) == sorted(ids), "reading a row validates each rule"
    built = build_targets([replace(built, checklist=read)], SftTargetConfig(compliance=1.0), TargetCounts())[0]
    for response in ("We see 72.", "Nothing, really."):
        score_checklist(response, read, mode="compat")
        score_checklist(response, read)
    assert built.target is not None
    assert len(calls) == 2, "and nothing after that does"
