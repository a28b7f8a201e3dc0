"""Attach constraints to problems: seeded, neither contradictory nor redundant, and met by a text with the answer.

Where a prompt asks for them is drawn too: after the question, before it, in the system turn, and so on (`placed`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from adhere.prompts.config import ConstraintSamplerConfig, Placement
from adhere.prompts.item import Message, PromptItem
from adhere.prompts.probes import probe_answer
from adhere.rewards import constraints as library
from adhere.rewards.checklist import Requirement
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.constraints import Checker
from adhere.rewards.constraints.text.segmentation import ABBREVIATIONS, split_sentences
from adhere.rewards.constraints.text.views import boxed_spans
from adhere.rewards.errors import ConstraintError, DataError, nearest
from adhere.rewards.math import verify_answer

LANGUAGES = ("language:response_language", "reasoning:language")
DEFAULT_COLLECTION = "mathif"
WORD_ARGUMENTS = ("keyword", "keywords", "forbidden_words", "keyword1", "keyword2", "first_word", "last_word")
REQUEST_ARGUMENT = "prompt_to_repeat"
"""An argument of constraints whose wordings speak of the request above, so that nothing may stand before or in it."""

LEAST_PROSE = 8
"""Letters that a text has beside its boxes before it counts as an answer in words."""


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
        families = sorted({name.partition(":")[0] for name in library.registry()})
        known = [*library.registry(), *library.collections(), *families]
        for place, ids in (("ids", self.config.ids or ()), ("hold_out.ids", self.config.hold_out.ids)):
            for name in ids:
                if name not in known:
                    raise ConstraintError(
                        f"constraints.{place}: unknown constraint '{name}'{nearest(name, known)}; "
                        f"give an id, one of the collections {', '.join(library.collections())}, or one of the "
                        f"families {', '.join(families)}"
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
        count = (self.config.hold_out.count if self.only_held_out else None) or self.config.count
        wanted = rng.choices(range(1, len(count) + 1), weights=count)[0]
        for _ in range(self.config.tries):
            drawn = self._draw(item, wanted, rng)
            if drawn is None or not satisfiable(item.answer, drawn, item.solution):
                continue
            if any(library.redundant(a, b) for a, b in combinations(drawn, 2)):
                continue
            checklist = []
            for checker in drawn:
                asked = checker.constraint
                wordings = asked.wordings if self.config.variety == "wide" else asked.phrasings
                variant = rng.randrange(len(wordings)) if self.config.paraphrase else 0
                checklist.append(Requirement(checker.id, checker.describe(variant), RuleCheck.of(checker)))
            # A stream of its own, so that another placement leaves the draws as they are.
            places = random.Random(f"placement:{self.config.seed}:{item.id}")
            placement = places.choices(list(self.config.placement), weights=list(self.config.placement.values()))[0]
            if any(REQUEST_ARGUMENT in checker.kwargs for checker in drawn):
                placement = "after"
            return with_constraints(item, checklist, placement, places)
        raise DataError(
            f"item '{item.id}' (gold {item.answer!r}): none of {self.config.tries} draws of {wanted} "
            f"constraints can be met together with it; lower constraints.count, or widen ids and ranges"
        )

    def _draw(self, item: PromptItem, wanted: int, rng: random.Random) -> list[Checker] | None:
        """Draw constraints; ``None`` where two conflict, or one is on the wrong side of what is held out."""
        hold_out = self.config.hold_out
        held_ids = expand(hold_out.ids)
        held_words = {word.lower() for word in hold_out.keywords}
        shown_words = [word for word in self.config.pool() if word.lower() not in held_words]
        ids = self.ids()
        drawn: list[Checker] = []
        for name in rng.sample(ids, k=min(wanted, len(ids))):
            keywords, ranges = shown_words, dict(self.config.ranges)
            if self.only_held_out and name not in held_ids:
                keywords = hold_out.keywords or keywords
                ranges |= hold_out.ranges
            checker = library.sample_checker(
                name, rng, keywords=keywords, ranges=ranges, question=item.question, wide=self.config.variety == "wide"
            )

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
    """Return constraint ids, with the name of a collection or a family standing for all ids in it."""
    return {
        name
        for name, constraint in library.registry().items()
        if {name, constraint.collection, name.partition(":")[0]} & set(names)
    }


def satisfiable(gold: str | None, drawn: Sequence[Checker], solution: str | None = None) -> bool:
    """Whether some text meets all constraints in both modes and still carries the gold answer.

    Shown by building one: the worked ``solution`` with its answer, or where a constraint leaves no room for that its
    closing sentence, is made to comply, its constraints are checked and its answer verified. Without a solution, or in
    another language, a short answer in that language takes its place. A box alone does not count as such a text.

    Args:
        gold: the gold answer, or ``None`` where there is none.
        drawn: the constraints, on the answer or on the reasoning.
        solution: a worked solution or, without a gold answer, a response.
    """
    answer, reasoning = library.by_scope(drawn)
    shown = worked_text(None, reasoning, solution) is not None if reasoning else True
    return shown and worked_text(gold, answer, solution) is not None


def worked_text(gold: str | None, checkers: Sequence[Checker], solution: str | None = None) -> str | None:
    """Return a text that meets constraints of one scope in both modes and has the gold answer, or ``None``."""
    language = next((str(checker.kwargs["language"]) for checker in checkers if checker.id in LANGUAGES), "en")
    if solution is None or language != "en":
        drafts = [probe_answer(language, "0" if gold is None else gold)]
    elif gold is None:
        drafts = [solution]
    else:
        closing = f"Therefore, the final answer is \\boxed{{{gold}}}."
        drafts = [f"{solution}\n{closing}", closing]
    for draft in drafts:
        text = None if draft is None else library.comply(draft, checkers)
        if text is None or (gold is not None and not verify_answer(gold, text).passed):
            continue
        prose, at = "", 0
        for start, end in boxed_spans(text):
            prose, at = prose + text[at:start], end
        if sum(map(str.isalpha, prose + text[at:])) >= LEAST_PROSE:
            return text
    return None


def with_constraints(
    item: PromptItem,
    checklist: Sequence[Requirement],
    placement: Placement = "after",
    rng: random.Random | None = None,
) -> PromptItem:
    """Return the item with the requirements in its checklist, and their texts in its prompt.

    Args:
        item: a prompt without constraints.
        checklist: what is asked for.
        placement: where the texts stand.
        rng: decides on the details of a placement; null: those of seed 0.
    """
    texts = [requirement.text for requirement in checklist]
    messages = placed(item.messages, texts, placement, rng or random.Random(0))
    bare = None if placement == "after" else item.messages
    return replace(item, messages=messages, checklist=(*item.checklist, *checklist), bare=bare)


def without_constraints(item: PromptItem) -> PromptItem:
    """Return the same problem as it is asked without its constraints: their texts taken out, the checklist empty.

    Raises:
        DataError: the item has no bare conversation and its prompt does not end in the texts of its checklist, so it
            was not built by ``with_constraints``.
    """
    if item.bare is not None:
        return replace(item, messages=item.bare, checklist=(), bare=None)
    last = item.messages[-1]
    tail = " ".join(["", *(requirement.text for requirement in item.checklist)])
    if item.checklist and not last["content"].endswith(tail):
        raise DataError(
            f"item '{item.id}': its prompt does not end in the texts of its checklist, cannot take them out"
        )
    content = last["content"].removesuffix(tail) if item.checklist else last["content"]
    return replace(item, messages=(*item.messages[:-1], {**last, "content": content}), checklist=())


LIST_OPENINGS = (
    "Follow these rules:", "Requirements:", "Keep to the following:", "Your response has to meet these points:",
    "What I ask of the answer:", "Please note:", "Conditions:", "Form of the answer:",
)  # fmt: skip
REMINDERS = (
    "Once more:", "Remember:", "To repeat what matters:", "Do not forget:", "Again, for the answer:", "As said above:",
)  # fmt: skip


def placed(
    messages: Sequence[Message], texts: Sequence[str], placement: Placement, rng: random.Random
) -> tuple[Message, ...]:
    """Return the conversation with the requirements in it.

    Args:
        messages: the conversation; its last turn asks the question.
        texts: the requirements, each whole, in their order; all of them stand in the prompt word for word.
        placement: where they go.
        rng: decides on openings, the marks of a list and the gaps between sentences.
    """
    *earlier, last = messages
    content, joined = last["content"], " ".join(texts)
    if placement == "before":
        content = f"{joined}\n{content}"
    elif placement == "system":
        if earlier and earlier[0]["role"] == "system":
            earlier[0] = Message(role="system", content=f"{earlier[0]['content']}\n{joined}")
        else:
            earlier.insert(0, Message(role="system", content=joined))
    elif placement == "list":
        numbered = rng.random() < 0.5
        points = [f"{i}. {text}" if numbered else f"- {text}" for i, text in enumerate(texts, 1)]
        content = "\n".join([content, rng.choice(LIST_OPENINGS), *points])
    elif placement == "woven":
        content = _woven(content, texts, rng)
    elif placement == "repeated":
        content = f"{joined}\n{content}\n{rng.choice(REMINDERS)} {joined}"
    else:
        content = f"{content} {joined}"
    return (*earlier, Message(role=last["role"], content=content))


def _woven(content: str, texts: Sequence[str], rng: random.Random) -> str:
    """Put each requirement into a gap between sentences of the question, or at its ends where it has one only."""
    # A sentence ends where the next one is found; formulas, boxes, code and abbreviations are never cut.
    starts, at = [], 0
    for sentence in split_sentences(content):
        last = content[:at].split()[-1:]
        at = content.index(sentence, at)
        bare = last[0].rstrip(".").lower() if last else ""
        if not last or (bare not in ABBREVIATIONS and len(bare) > 1 and not sentence[:1].islower()):
            starts.append(at)
        at += len(sentence)
    inner = starts[1:] or [0, len(content)]
    gaps = sorted(rng.choice(inner) for _ in texts)
    parts, before = [], 0
    for gap, text in zip(gaps, texts, strict=True):
        parts += [content[before:gap].rstrip(" "), "" if content[before:gap][-1:] in ("", "\n") else " ", text, " "]
        before = gap
    return "".join([*parts, content[before:]]).rstrip(" ")
