"""Characters that only look like something: a comma that is none by its code point, a text that nobody can see."""

from __future__ import annotations

import pytest

from adhere.rewards.constraints import check, registry, transform

NO_COMMA = "punctuation:no_comma"


@pytest.mark.parametrize("mark", ["‚", "，", "،"])
def test_a_comma_look_alike_is_a_comma(mark: str) -> None:
    text = f"First{mark} add. The answer is \\boxed{{3}}."
    assert check(NO_COMMA, text, mode="compat").passed
    assert not check(NO_COMMA, text).passed
    assert check(NO_COMMA, transform(NO_COMMA, text) or "").passed


def test_a_low_quotation_mark_before_a_word_is_no_comma() -> None:
    assert check(NO_COMMA, "Er nennt es ‚Summe‘ und addiert.").passed


@pytest.mark.parametrize("text", ["\u200b\u200b", " \u2060\n\ufeff ", "\u00ad"])
def test_a_text_that_nobody_can_see_is_empty(text: str) -> None:
    plain = [name for name, constraint in registry().items() if not constraint.params]
    assert plain and not any(check(name, text).passed for name in plain)
