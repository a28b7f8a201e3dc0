"""Information gain: how much each step of reasoning tells a fixed reader about the right answer (arXiv 2506.02126)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from adhere.evaluation.diagnostics.estimates import real_estimate
from adhere.evaluation.diagnostics.reasoning import chains
from adhere.evaluation.diagnostics.subject import Subject
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import DataError
from adhere.rewards.segments import THINK_CLOSE

CUE = "The final answer is \\boxed{"
"""What stands between the reasoning and the gold answer, whose tokens alone are scored."""


def information_gain(subject: Subject, items: Sequence[PromptItem], base: Subject | None = None) -> dict[str, Any]:
    """Return what the steps of the model's reasoning add to the likelihood of the gold answer, in nats a token.

    H_i is the mean negative log-likelihood of the gold answer's tokens, behind the prompt and steps 1 to i; step i
    gains H_(i-1) - H_i. ``total`` is their sum, ``step`` their mean. The control ``filler`` is the total of as many
    steps of dots: what reasoning adds by its mere length. The reader is ``base`` where there is one, since a tuned
    model that reads itself measures its confidence.

    Args:
        subject: the model whose reasoning is read.
        items: prompts; those without a gold answer, or whose response does not reason, are left out and counted.
        base: the reader; ``None`` lets the model read itself, and ``reader`` says so.

    Raises:
        DataError: no prompt is left.
    """
    reader = base or subject
    found = [chain for chain in chains(items, subject.answer(items)) if chain.item.answer]
    if not found:
        raise DataError("information gain: no prompt has a gold answer and a response that reasoned")
    gains: dict[str, list[float]] = {}
    filler: dict[str, float] = {}
    for chain in found:
        prompt, gold = reader.prompt(chain.item.messages), str(chain.item.answer)

        def uncertainty(
            steps: Sequence[str], prompt: str = prompt, gold: str = gold, opening: str = chain.opening
        ) -> float:
            return reader.nll(f"{prompt}{opening}{chr(10).join(steps)}\n{THINK_CLOSE}\n{CUE}", gold)

        series = [uncertainty(chain.steps[:i]) for i in range(len(chain.steps) + 1)]
        gains[chain.item.id] = [before - after for before, after in pairwise(series)]
        filler[chain.item.id] = series[0] - uncertainty(["..."] * len(chain.steps))
    names = list(gains)
    steps = [(gain, name) for name, of_item in gains.items() for gain in of_item]
    return {
        "total": real_estimate([sum(of_item) for of_item in gains.values()], names),
        "step": real_estimate([gain for gain, _ in steps], [name for _, name in steps]),
        "filler": real_estimate([filler[name] for name in names], names),
        "by_item": gains,
        "reader": reader.name if reader is not subject else "itself",
        "items": len(found),
        "left_out": len(items) - len(found),
    }
