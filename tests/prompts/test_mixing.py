"""Proportions, seeded order, and filters that count."""

import pytest

from adhere.prompts.build import check_supply, counts, shuffled, verifiable_gold, within_length
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.errors import DataError


def item(name: str, answer: str | None = "1", source: str = "s") -> PromptItem:
    return PromptItem(name, (Message(role="user", content=name),), answer, source=source, question=name)


def test_counts_follow_the_weights_and_sum_to_the_total() -> None:
    assert counts({"a": 1.0, "b": 3.0}, 100) == {"a": 25, "b": 75}
    assert counts({"a": 1.0, "b": 1.0, "c": 1.0}, 10) == {"a": 4, "b": 3, "c": 3}
    for total in range(40):
        shares = counts({"a": 0.2, "b": 0.5, "c": 0.31}, total)
        assert sum(shares.values()) == total
        assert all(abs(shares[k] - total * w / 1.01) < 1 for k, w in {"a": 0.2, "b": 0.5, "c": 0.31}.items())


def test_order_is_seeded_and_independent_of_what_else_is_there() -> None:
    items = [item(str(n)) for n in range(50)]
    order = shuffled(items, seed=1)
    assert order == shuffled(items[::-1], seed=1)
    assert order != shuffled(items, seed=2)
    assert [i for i in order if int(i.id) < 20] == shuffled(items[:20], seed=1)


def test_a_source_that_is_too_small_is_named_with_what_would_fit() -> None:
    check_supply({"a": 5, "b": 5}, {"a": 5, "b": 9}, 10, "train_size", "none")
    with pytest.raises(DataError, match=r"train_size: 10 .*'a' has 3 of 5 wanted; set train_size to 6"):
        check_supply({"a": 5, "b": 5}, {"a": 3, "b": 9}, 10, "train_size", "none")


def test_long_prompts_are_left_out_and_counted_per_source() -> None:
    items = [item("x" * n, source="long" if n > 3 else "short") for n in range(1, 6)]
    result = within_length(items, 3, lambda it: len(it.question))
    assert [i.id for i in result.kept] == ["x", "xx", "xxx"]
    assert result.dropped == {"long": 2}
    assert result.examples[0] == "xxxx: 4 tokens, above max_prompt_tokens 3"


def test_golds_that_do_not_verify_are_left_out_until_there_are_too_many() -> None:
    items = [item(f"good{n}") for n in range(9)] + [
        item("none", None),
        item("bad", "\\frac{1}{"),
    ]
    result = verifiable_gold(items, max_bad_share=0.2)
    assert [i.id for i in result.kept] == [i.id for i in items[:-1]]
    assert result.dropped == {"s": 1}
    with pytest.raises(DataError, match=r"source 's': 1 of 10 gold answers .*bad: gold '"):
        verifiable_gold(items, max_bad_share=0.05)
    with pytest.raises(DataError, match="1 of 1"):
        verifiable_gold(items[-1:], max_bad_share=1.0)
