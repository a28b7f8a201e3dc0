"""What is left out of the data, counted per source: golds that cannot be verified and prompts that are too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adhere.prompts.item import PromptItem
from adhere.rewards.errors import DataError
from adhere.rewards.math.gold import check_gold

CountTokens = Callable[[PromptItem], int]


@dataclass(frozen=True, slots=True)
class Filtered:
    """The items that stay, and how many of each source do not.

    ``examples`` says why for the first few of all, ``first`` for the first of each source.
    """

    kept: list[PromptItem]
    dropped: dict[str, int]
    examples: list[str]
    first: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        return {"kept": len(self.kept), "dropped": self.dropped, "examples": self.examples}


def _split(items: Sequence[PromptItem], complaint: Callable[[PromptItem], str | None]) -> Filtered:
    kept: list[PromptItem] = []
    dropped: Counter[str] = Counter()
    examples: list[str] = []
    first: dict[str, str] = {}
    for item in items:
        reason = complaint(item)
        if reason is None:
            kept.append(item)
            continue
        dropped[item.source] += 1
        first.setdefault(item.source, f"{item.id}: {reason}")
        if len(examples) < 5:
            examples.append(f"{item.id}: {reason}")
    return Filtered(kept, dict(dropped), examples, first)


def verifiable_gold(items: Sequence[PromptItem], max_bad_share: float) -> Filtered:
    """Leave out the items whose gold answer does not verify against itself; items without a gold stay.

    Raises:
        DataError: more than ``max_bad_share`` of a source's golds fail, or all of them.
    """

    def complaint(item: PromptItem) -> str | None:
        if item.answer is None:
            return None
        verdict = check_gold(item.answer)
        return None if verdict.passed else f"gold {item.answer!r} ({verdict.detail or verdict.status.value})"

    result = _split(items, complaint)
    golds = Counter(item.source for item in items if item.answer is not None)
    for source, bad in result.dropped.items():
        if bad == golds[source] or bad / golds[source] > max_bad_share:
            raise DataError(
                f"source '{source}': {bad} of {golds[source]} gold answers do not verify against themselves "
                f"(max_bad_gold is {max_bad_share}), the first {result.first[source]}; "
                f"is columns.answer the final answer?"
            )
    return result


def within_length(items: Sequence[PromptItem], max_tokens: int, count_tokens: CountTokens) -> Filtered:
    """Leave out the items whose prompt has more than ``max_tokens`` tokens, chat template included.

    ``count_tokens`` renders and counts one item: the tokenizer lives with the caller.
    """

    def complaint(item: PromptItem) -> str | None:
        tokens = count_tokens(item)
        return None if tokens <= max_tokens else f"{tokens} tokens, above max_prompt_tokens {max_tokens}"

    return _split(items, complaint)
