"""Attach constraints to problems: seeded, free of conflicts, and satisfiable together with the gold answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adhere.prompts.config import ConstraintSamplerConfig
from adhere.prompts.item import Message, PromptItem
from adhere.prompts.probes import probe
from adhere.rewards import constraints as library
from adhere.rewards.checklist import Requirement
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.constraints import Checker
from adhere.rewards.errors import ConstraintError, DataError, nearest
from adhere.rewards.math import verify_answer

LANGUAGES = ("language:response_language", "reasoning:language")
DEFAULT_COLLECTION = "mathif"
WORD_ARGUMENTS = ("keyword", "keywords", "forbidden_words")


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws constraints for items; what it draws depends on the configuration's seed and the item's id only.

    With ``only_held_out`` it draws only what ``config.hold_out`` keeps from training: every constraint
    is of a held-out id, names a held-out word, or has an argument inside a held-out range.

    Raises (on creation):
        ConstraintError: an id that does not exist.
        DataError: nothing is left to draw from, or a word of MathIF's is in the pool.
    """

    config: ConstraintSamplerConfig
    only_held_out: bool = False

    def __post_init__(self) -> None:
        known = [*library.registry(), *library.collections()]
        for place, ids in (("ids", self.config.ids or ()), ("hold_out.ids", self.config.hold_out.ids)):
            for name in ids:
                if name not in known:
                    raise ConstraintError(
                        f"constraints.{place}: unknown constraint '{name}'{nearest(name, known)}; "
                        f"give an id or one of the collections {', '.join(library.collections())}"
                    )
        if not self.only_held_out:
            taken = sorted({word.lower() for word in self.config.keywords or ()} & library.MATHIF_KEYWORDS)
            if taken:
                raise DataError(
                    f"constraints.keywords: {', '.join(taken)} belong to MathIF's 54 keywords, which stay "
                    f"out of training; choose other words"
                )
        if not self.ids():
            raise DataError("constraints: no constraint is left to draw from; look at ids and hold_out")

    def ids(self) -> list[str]:
        """Return the constraint ids that are drawn from, in the registry's order."""
        hold_out = self.config.hold_out
        known = library.registry()
        held, shown = expand(hold_out.ids), expand(self.config.ids or [DEFAULT_COLLECTION])
        if self.only_held_out:
            # Also ids of which only some words or numbers are held out, as far as their parameters can name them.
            places = set(hold_out.ranges) | (set(WORD_ARGUMENTS) if hold_out.keywords else set())
            usual = shown | expand([DEFAULT_COLLECTION])
            partly = {name for name in usual if places & {param.name for param in known[name].params}}
            return [name for name in known if name in held | partly]
        if self.config.ids is None:
            shown = {name for name in shown if known[name].rewritable}
        return [name for name in known if name in shown - held]

    def attach(self, item: PromptItem) -> PromptItem:
        """Return the item with constraints in its checklist and its prompt, or unchanged when its draw says none.

        Raises:
            DataError: no draw within ``config.tries`` can be met together with the gold answer.
        """
        rng = random.Random(f"constraints:{self.config.seed}:{item.id}")
        if rng.random() >= self.config.share:
            return item
        wanted = rng.choices(range(1, len(self.config.count) + 1), weights=self.config.count)[0]
        for _ in range(self.config.tries):
            drawn = self._draw(item, wanted, rng)
            if drawn is None or not satisfiable(item.answer, drawn):
                continue
            checklist = []
            for checker in drawn:
                variant = rng.randrange(len(checker.constraint.phrasings)) if self.config.paraphrase else 0
                checklist.append(Requirement(checker.id, checker.describe(variant), RuleCheck.of(checker)))
            return with_constraints(item, checklist)
        raise DataError(
            f"item '{item.id}' (gold {item.answer!r}): none of {self.config.tries} draws of {wanted} "
            f"constraints can be met together with it; lower constraints.count, or widen ids and ranges"
        )

    def _draw(self, item: PromptItem, wanted: int, rng: random.Random) -> list[Checker] | None:
        """Draw constraints; ``None`` where two conflict, or one is on the wrong side of what is held out."""
        hold_out = self.config.hold_out
        held_ids = expand(hold_out.ids)
        held_words = {word.lower() for word in hold_out.keywords}
        pool = self.config.keywords if self.config.keywords is not None else library.TRAINING_KEYWORDS
        shown_words = [word for word in pool if word.lower() not in held_words]
        ids = self.ids()
        drawn: list[Checker] = []
        for name in rng.sample(ids, k=min(wanted, len(ids))):
            keywords, ranges = shown_words, dict(self.config.ranges)
            if self.only_held_out and name not in held_ids:
                keywords = hold_out.keywords or keywords
                ranges |= hold_out.ranges
            checker = library.sample_checker(name, rng, keywords=keywords, ranges=ranges, question=item.question)

            kwargs = checker.kwargs
            values = [kwargs.get(argument) or () for argument in WORD_ARGUMENTS]
            words = [word for value in values for word in ([value] if isinstance(value, str) else value)]
            held_out = (
                name in held_ids
                or any(word.lower() in held_words for word in words)
                or any(low <= kwargs[key] <= high for key, (low, high) in hold_out.ranges.items() if key in kwargs)
            )
            if held_out is not self.only_held_out or any(library.conflicts(checker, other) for other in drawn):
                return None
            drawn.append(checker)
        return drawn


def expand(names: Sequence[str]) -> set[str]:
    """Return constraint ids, with the name of a collection standing for all ids in it."""
    return {name for name, constraint in library.registry().items() if {name, constraint.collection} & set(names)}


def satisfiable(gold: str | None, drawn: Sequence[Checker]) -> bool:
    """Whether some text meets all constraints in both modes and still carries the gold answer.

    Shown by building one: a text around ``\\boxed{gold}`` is made to comply, and its answer verified.
    """
    answer, reasoning = library.by_scope(drawn)
    if reasoning and _built(gold, reasoning) is None:
        return False
    text = _built(gold, answer)
    return text is not None and (gold is None or verify_answer(gold, text).passed)


def _built(gold: str | None, checkers: Sequence[Checker]) -> str | None:
    """Return a text around the boxed gold answer that meets constraints of one scope, or ``None``."""
    language = next((str(checker.kwargs["language"]) for checker in checkers if checker.id in LANGUAGES), "en")
    draft = probe(language, "0" if gold is None else gold)
    return None if draft is None else library.comply(draft, checkers)


def with_constraints(item: PromptItem, checklist: Sequence[Requirement]) -> PromptItem:
    """Return the item with the requirements in its checklist, and their texts after its last message."""
    last = item.messages[-1]
    content = " ".join([last["content"], *(requirement.text for requirement in checklist)])
    messages = (*item.messages[:-1], Message(role=last["role"], content=content))
    return replace(item, messages=messages, checklist=(*item.checklist, *checklist))


def without_constraints(item: PromptItem) -> PromptItem:
    """Return the same problem as it is asked without its constraints: their texts cut off, the checklist empty.

    Raises:
        DataError: the prompt does not end in the texts of its checklist, so it was not built by
            ``with_constraints``.
    """
    last = item.messages[-1]
    tail = " ".join(["", *(requirement.text for requirement in item.checklist)])
    if item.checklist and not last["content"].endswith(tail):
        raise DataError(
            f"item '{item.id}': its prompt does not end in the texts of its checklist, cannot take them out"
        )
    content = last["content"].removesuffix(tail) if item.checklist else last["content"]
    messages = (*item.messages[:-1], Message(role=last["role"], content=content))
    return replace(item, messages=messages, checklist=())
