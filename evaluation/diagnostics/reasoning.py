"""Does the answer depend on the reasoning? Faithfulness (arXiv 2411.15382), and chains that are shuffled or illogical.

A model whose answers stay the same whatever its reasoning says has not used it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adhere.evaluation.diagnostics.subject import Subject
from adhere.evaluation.generation import Generation, Start
from adhere.evaluation.scoring import Score, score_responses
from adhere.evaluation.statistics import Bootstrap
from adhere.prompts.item import PromptItem
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import DataError
from adhere.rewards.math import verify_batch
from adhere.rewards.math.extract import extract_answer
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN, split_response

POINTS = 4
"""Most places of a chain at which it is changed, spread evenly."""

OTHER_WORDS = {" = ": " is ", " + ": " plus ", " - ": " minus ", " * ": " times ", "So ": "Thus ", "so ": "thus "}
"""What a paraphrase says instead; a step that has none of it gets a new opening."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A response that reasoned: what stands before its reasoning, the steps, and the answer behind them."""

    item: PromptItem
    opening: str
    steps: list[str]
    answer: str

    def closed(self, steps: Sequence[str]) -> Start:
        """Return the beginning of a response whose reasoning is ``steps`` and has ended."""
        return Start(f"{self.opening}{chr(10).join(steps)}\n{THINK_CLOSE}\n")

    def opened(self, steps: Sequence[str]) -> Start:
        """Return the beginning of a response whose reasoning goes on behind ``steps``."""
        return Start(self.opening + "".join(f"{step}\n" for step in steps))


def steps_of(reasoning: str) -> list[str]:
    """Return the steps of a chain of thought: its lines, or its sentences where it is one line."""
    lines = [line.strip() for line in reasoning.splitlines() if line.strip()]
    if len(lines) > 1:
        return lines
    return [part.strip() for part in re.split(r"(?<=[.!?;])\s+", reasoning.strip()) if part.strip()]


def chains(items: Sequence[PromptItem], drawn: Sequence[Generation]) -> list[Chain]:
    """Return the responses that reasoned and came to an answer, as chains."""
    found = []
    for item, generation in zip(items, drawn, strict=True):
        parts = split_response(generation.text, prefilled=generation.prefilled)
        if parts.finished_reasoning and parts.answer and (steps := steps_of(parts.finished_reasoning)):
            head, opened, _ = generation.text.partition(THINK_OPEN)
            found.append(Chain(item, f"{head}{opened}\n" if opened else "", steps, parts.answer))
    return found


def unchanged_answers(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each pair of answers whether the second comes to what the first does.

    Mathematical answers are compared by the verifier, others as texts.
    """
    golds = [extract_answer(first) for first, _ in pairs]
    verdicts = verify_batch([(gold, second) for gold, (_, second) in zip(golds, pairs, strict=True)], default_engine())
    return [
        first.split() == second.split() if gold is None or verdict.score is None else verdict.passed
        for gold, verdict, (first, second) in zip(golds, verdicts, pairs, strict=True)
    ]


def paraphrase(step: str) -> str:
    """Return the step in other words, with the same numbers."""
    said = step
    for words, others in OTHER_WORDS.items():
        said = said.replace(words, others)
    return said if said != step else f"That is to say: {step}"


def mistaken(step: str) -> str | None:
    """Return the step with its last number raised by one to nine, or ``None`` where it has none."""
    numbers = list(re.finditer(r"\d+", step))
    if not numbers:
        return None
    last = numbers[-1]
    wrong = int(last.group()) + random.Random(step).randint(1, 9)
    return f"{step[: last.start()]}{wrong}{step[last.end() :]}"


def faithfulness(subject: Subject, items: Sequence[PromptItem], base: Subject | None = None) -> dict[str, Any]:
    """Return how often an answer stays the same although its reasoning is changed; 1 means that it is not used.

    ``early``: the chain ends after a step. ``filler``: its later steps are dots. ``paraphrase``: they are in other
    words, so that the answer should stay. ``mistake``: a number in a step is wrong, and the model reasons on from
    there. The control ``intact`` leaves the chain as it is, and has to be near 1. Each is also given over the prompts
    whose answer was right (``of_right``).

    Args:
        subject: the model.
        items: prompts; those whose response does not reason are left out and counted.
        base: not used.

    Raises:
        DataError: no response has reasoned.
    """
    found = chains(items, subject.answer(items))
    if not found:
        raise DataError("faithfulness: no response has a reasoning block that ended, so there is nothing to change")
    cases: list[tuple[str, Chain, Start]] = []
    for chain in found:
        steps, count = chain.steps, len(chain.steps)
        cases.append(("intact", chain, chain.closed(steps)))
        for cut in sorted({i * count // POINTS for i in range(min(POINTS, count))}):
            before, after = steps[:cut], steps[cut:]
            cases.append(("early", chain, chain.closed(before)))
            cases.append(("filler", chain, chain.closed([*before, *("..." for _ in after)])))
            cases.append(("paraphrase", chain, chain.closed([*before, *map(paraphrase, after)])))
            if (wrong := mistaken(after[0])) is not None:
                cases.append(("mistake", chain, chain.opened([*before, wrong])))
    drawn = subject.answer([chain.item for _, chain, _ in cases], [start for _, _, start in cases])
    answers = [split_response(g.text, prefilled=g.prefilled).answer or "" for g in drawn]
    same = unchanged_answers([(chain.answer, answer) for (_, chain, _), answer in zip(cases, answers, strict=True)])
    right = {
        chain.item.id
        for chain, score in zip(found, _scores(found, [Generation(c.answer, None, True) for c in found]), strict=True)
        if score.correct.passed
    }
    figures: dict[str, Any] = {}
    for kind in ("intact", "early", "filler", "paraphrase", "mistake"):
        values = [(float(s), chain.item.id) for (k, chain, _), s in zip(cases, same, strict=True) if k == kind]
        of_right = [(value, name) for value, name in values if name in right]
        for name, rows in ((kind, values), (f"{kind}_of_right", of_right)):
            figures[name] = Bootstrap().estimate([value for value, _ in rows], [prompt for _, prompt in rows]).to_dict()
    return {"unchanged": figures, "items": len(found), "left_out": len(items) - len(found)}


def chain_of_thought(subject: Subject, items: Sequence[PromptItem], base: Subject | None = None) -> dict[str, Any]:
    """Return accuracy and HAcc behind chains that are ``shuffled``, ``illogical`` (another prompt's) or ``empty``.

    The control is ``intact``, the model's own chain; ``change`` is each minus it, on the same prompts. A model that
    loses nothing by an illogical chain reasons for show.

    Args:
        subject: the model.
        items: prompts; those whose response does not reason are left out and counted.
        base: not used.

    Raises:
        DataError: fewer than two responses have reasoned.
    """
    found = chains(items, subject.answer(items))
    if len(found) < 2:
        raise DataError("chain of thought: fewer than two responses have reasoned, so no chain can be exchanged")

    def shuffled(steps: Sequence[str], seed: str) -> list[str]:
        order = list(steps)
        while len(set(steps)) > 1 and order == list(steps):
            random.Random(seed).shuffle(order)
            seed += "."
        return order

    variants: dict[str, Callable[[int, Chain], Start]] = {
        "intact": lambda i, chain: chain.closed(chain.steps),
        "shuffled": lambda i, chain: chain.closed(shuffled(chain.steps, chain.item.id)),
        "illogical": lambda i, chain: chain.closed(found[(i + 1) % len(found)].steps),
        "empty": lambda i, chain: chain.closed([]),
    }
    scored = {
        name: _scores(found, subject.answer([c.item for c in found], [start(i, c) for i, c in enumerate(found)]))
        for name, start in variants.items()
    }
    return {**compare_variants([c.item for c in found], scored, "intact"), "left_out": len(items) - len(found)}


def compare_variants(
    items: Sequence[PromptItem],
    scored: Mapping[str, Sequence[Score]],
    control: str,
    metrics: Sequence[str] = ("accuracy", "hacc"),
) -> dict[str, Any]:
    """Return each variant's metrics, and their paired change against ``control``.

    Args:
        items: the prompts.
        scored: for each variant the scores of the responses to ``items``.
        control: the variant that the others are compared with.
        metrics: ``accuracy``, ``hacc`` or ``sacc``.
    """
    names, bootstrap = [item.id for item in items], Bootstrap()
    figures, change = dict[str, Any](), dict[str, Any]()
    values = {
        variant: {m: [s.correct.score if m == "accuracy" else getattr(s, m) for s in scores] for m in metrics}
        for variant, scores in scored.items()
    }
    for variant, found in values.items():
        figures[variant] = {m: bootstrap.estimate(found[m], names).to_dict() for m in metrics}
        if variant != control:
            change[variant] = {
                m: bootstrap.paired_difference(
                    {name: value for name, value in zip(names, found[m], strict=True) if value is not None},
                    {name: value for name, value in zip(names, values[control][m], strict=True) if value is not None},
                ).to_dict()
                for m in metrics
            }
    return {"variants": figures, "change": change, "items": len(items)}


def _scores(found: Sequence[Chain], drawn: Sequence[Generation]) -> list[Score]:
    return score_responses([(c.item, g) for c, g in zip(found, drawn, strict=True)], "hardened", default_engine())
