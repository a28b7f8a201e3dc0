"""SFT targets: worked solutions that end in the boxed gold answer, and responses where there is no gold answer; a
configurable share of them obeys."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adhere.prompts.config import SftTargetConfig
from adhere.prompts.item import PromptItem
from adhere.rewards.constraints import Checker, by_scope, comply
from adhere.rewards.math import extract_answer, verify_answer
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN, split_response

# `3*70` between words reads as markdown emphasis, which some constraints ask for and others count
PLAN = "I read the request once more and note what it asks for. Then I write the response."
"""What a target thinks before the response to a request without a gold answer."""

PREVIEW, CHECK = "The request asks for this:", "Before I answer, I check once more what was asked:"
"""What stands before the requirements at the beginning and at the end of a target's reasoning."""

_PRODUCT = re.compile(r"(?<=[\w)%])\*(?=[\w($.])")


@dataclass(slots=True)
class TargetCounts:
    """What became of the items: those with a target by kind, those left out, and what else is worth knowing."""

    given: int = 0
    """Items that brought their target along."""

    unconstrained: int = 0
    """Items without constraints: the plain solution."""

    obeying: int = 0
    """Targets that meet every constraint, in both modes, as intended."""

    ignoring: int = 0
    """Targets written as if there were no constraint, as intended."""

    not_obeyable: int = 0
    """Meant to obey, but the solution cannot be rewritten to them, or not without damage to its answer or
    numbers, or a requirement takes more than a rule: written as if there were no constraint."""

    without_solution: int = 0
    """Left out: no worked solution."""

    wrong_answer: int = 0
    """Left out: the gold answer could not be verified in the finished target."""

    comply_by_chance: int = 0
    """Of ``ignoring`` and ``not_obeyable``: those that meet every constraint all the same (hardened)."""

    examples: list[str] = field(default_factory=list)
    """Ids of the first few items that were left out or not obeyable, with the reason."""

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        names = [name for name in self.__slots__ if name != "examples"]
        return {name: getattr(self, name) for name in names} | {"examples": self.examples}

    def note(self, item: PromptItem, reason: str) -> None:
        """Count one item under ``reason``, and keep it as an example."""
        setattr(self, reason, getattr(self, reason) + 1)
        if len(self.examples) < 5:
            self.examples.append(f"{item.id}: {reason}")


def build_targets(items: Sequence[PromptItem], config: SftTargetConfig, counts: TargetCounts) -> list[PromptItem]:
    """Return the items with ``target`` set; ``counts`` is raised by what became of each.

    Items without a verified target are left out. Who obeys depends on the configuration's seed and the item's
    id only. An item that brings its own target keeps it, if its answer verifies.
    """
    built = []
    for item in items:
        rules = [rule for requirement in item.checklist if (rule := requirement.rule) is not None]
        by_rules = len(rules) == len(item.checklist)
        think = config.think
        if item.target is not None:
            text, kind = item.target, "given"
        elif item.solution is None:
            counts.note(item, "without_solution")
            continue
        else:
            parts = split_response(item.solution)
            if item.answer is None:
                reasoning, scored = PLAN, item.solution
            elif parts.reasoning and parts.answer:
                # A trace keeps its own reasoning, and the write-up behind it.
                reasoning, scored, think = parts.reasoning, parts.answer, True
                if extract_answer(scored) is None:
                    scored += "\n" + config.template.replace("{answer}", item.answer)
            else:
                reasoning = _PRODUCT.sub("×", unboxed(item.solution))
                closing = config.template.replace("{answer}", item.answer)
                scored = closing if think else f"{reasoning}\n{closing}"
            drawn = random.Random(f"obey:{config.seed}:{item.id}").random()
            kind = "ignoring" if drawn >= config.compliance else "obeying" if by_rules else "not_obeyable"
            if not item.checklist:
                kind = "unconstrained"
            if kind == "obeying":
                asked = " ".join(requirement.text for requirement in item.checklist)
                shown = f"{PREVIEW} {asked}\n{reasoning}\n{CHECK} {asked}" if config.preview else reasoning
                on_answer, on_reasoning = by_scope([rule.checker for rule in rules])
                obeying = _rewritten(item, scored, on_answer)
                # without a block there is nowhere to meet a demand on the reasoning
                thinking = None if on_reasoning and not think else _rewritten(item, shown, on_reasoning)
                if obeying is None or thinking is None:
                    kind = "not_obeyable"
                else:
                    scored, reasoning = obeying, thinking
            text = f"{THINK_OPEN}\n{reasoning}\n{THINK_CLOSE}\n\n{scored}" if think else scored

        if item.answer is not None and not verify_answer(item.answer, text).passed:
            counts.note(item, "wrong_answer")
            continue
        if kind == "not_obeyable":
            counts.note(item, kind)
        else:
            setattr(counts, kind, getattr(counts, kind) + 1)
        if kind in ("ignoring", "not_obeyable") and by_rules:
            parts = split_response(text)
            answer, thought = parts.answer or "", parts.finished_reasoning
            counts.comply_by_chance += all(rule.checker.scoped(answer, thought).passed for rule in rules)
        built.append(replace(item, target=text))
    return built


def _rewritten(item: PromptItem, text: str, checkers: Sequence[Checker]) -> str | None:
    """Return ``text`` made to comply, or ``None`` where that fails or would bring in numbers from nowhere."""
    done = comply(text, checkers)
    if done is None:
        return None
    # Any other number than those of the text, of the question and of sections means damaged arithmetic.
    rules = [rule for requirement in item.checklist for rule in requirement.rules]
    sections = max((rule.kwargs.get("num_sections", 0) for rule in rules), default=0)
    known = _numbers(text) | _numbers(item.question) | {str(n) for n in range(1, sections + 1)}
    return done if _numbers(done) <= known else None


def _numbers(text: str) -> set[str]:
    """Return the digit runs of a text; a thousands comma does not end one."""
    return set(re.findall(r"\d+", re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)))


def unboxed(solution: str) -> str:
    """Return the solution with each ``\\boxed{x}`` and ``\\fbox{x}`` replaced by ``x``: a target has one box."""
    parts: list[str] = []
    rest = solution
    while True:
        start, command = min(((at, c) for c in ("\\boxed{", "\\fbox{") if (at := rest.find(c)) >= 0), default=(-1, ""))
        if start < 0:
            return "".join([*parts, rest])
        # Cut at the brace that closes the group; an unclosed group reaches to the end.
        group, depth = rest[start + len(command) :], 1
        end = len(group)
        for at, char in enumerate(group):
            escaped = at > 0 and group[at - 1] == "\\"
            depth += 0 if escaped else (char == "{") - (char == "}")
            if depth == 0:
                end = at
                break
        parts.append(rest[:start])
        rest = group[:end] + group[end + 1 :]
