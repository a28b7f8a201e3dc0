"""SFT targets: worked solutions that end in the boxed gold answer, a configurable share of them obeying."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adhere.prompts.config import SftTargetConfig
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import RuleCheck
from adhere.rewards.constraints import Checker, by_scope, comply
from adhere.rewards.math import verify_answer
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN, split_response

# `3*70` between words reads as markdown emphasis, which some constraints ask for and others count
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
    """Left out: no worked solution, or no gold answer to end in."""

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
    id alone. An item that brings its own target keeps it, if its answer verifies.
    """
    return [item for item in (_with_target(item, config, counts) for item in items) if item is not None]


def _with_target(item: PromptItem, config: SftTargetConfig, counts: TargetCounts) -> PromptItem | None:
    if item.target is not None:
        text, kind = item.target, "given"
    elif item.solution is None or item.answer is None:
        counts.note(item, "without_solution")
        return None
    else:
        text, kind = _target(item, item.solution, item.answer, config)
    if item.answer is not None and not verify_answer(item.answer, text).passed:
        counts.note(item, "wrong_answer")
        return None
    if kind == "not_obeyable":
        counts.note(item, kind)
    else:
        setattr(counts, kind, getattr(counts, kind) + 1)
    if kind in ("ignoring", "not_obeyable"):
        counts.comply_by_chance += _complies(item, text)
    return replace(item, target=text)


def _target(item: PromptItem, solution: str, gold: str, config: SftTargetConfig) -> tuple[str, str]:
    """Return the target and its kind, the name of its count."""
    reasoning = _PRODUCT.sub("×", unboxed(solution))
    closing = config.template.replace("{answer}", gold)
    scored = closing if config.think else f"{reasoning}\n{closing}"
    kind = _intent(item, config)
    if kind == "obeying":
        on_answer, on_reasoning = by_scope([rule.checker for rule in _rules(item) or ()])
        obeying = None if _rules(item) is None else _rewritten(item, scored, on_answer)
        # without a block there is nowhere to meet a demand on the reasoning
        thinking = None if on_reasoning and not config.think else _rewritten(item, reasoning, on_reasoning)
        kind = "not_obeyable" if obeying is None or thinking is None else "obeying"
        if obeying is not None and thinking is not None:
            scored, reasoning = obeying, thinking
    return f"{THINK_OPEN}\n{reasoning}\n{THINK_CLOSE}\n\n{scored}" if config.think else scored, kind


def _rewritten(item: PromptItem, text: str, checkers: Sequence[Checker]) -> str | None:
    """Return ``text`` made to comply, or ``None`` where that fails or would bring in numbers from nowhere."""
    done = comply(text, checkers)
    return done if done is not None and _numbers(done) <= _known_numbers(item, text) else None


def _intent(item: PromptItem, config: SftTargetConfig) -> str:
    if not item.checklist:
        return "unconstrained"
    drawn = random.Random(f"obey:{config.seed}:{item.id}").random()
    return "obeying" if drawn < config.compliance else "ignoring"


def _numbers(text: str) -> set[str]:
    """Return the digit runs of a text; a thousands comma does not end one."""
    return set(re.findall(r"\d+", re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)))


def _known_numbers(item: PromptItem, text: str) -> set[str]:
    """Return the numbers that a rewritten text may have; any other one means damaged arithmetic."""
    rules = [rule for requirement in item.checklist for rule in requirement.rules]
    sections = max((rule.kwargs.get("num_sections", 0) for rule in rules), default=0)
    return _numbers(text) | _numbers(item.question) | {str(n) for n in range(1, sections + 1)}


def _complies(item: PromptItem, target: str) -> bool:
    parts, wanted = split_response(target), _rules(item)
    answer, reasoning = parts.answer or "", parts.finished_reasoning
    return wanted is not None and all(rule.checker.scoped(answer, reasoning).passed for rule in wanted)


def _rules(item: PromptItem) -> list[RuleCheck] | None:
    """Return the rules that decide the checklist; ``None`` where some requirement takes more than a rule."""
    rules = [rule for requirement in item.checklist if (rule := requirement.rule) is not None]
    return rules if len(rules) == len(item.checklist) else None


def unboxed(solution: str) -> str:
    """Return the solution with each ``\\boxed{x}`` and ``\\fbox{x}`` replaced by ``x``: a target has one box."""
    parts: list[str] = []
    rest = solution
    while True:
        start, command = min(((at, c) for c in ("\\boxed{", "\\fbox{") if (at := rest.find(c)) >= 0), default=(-1, ""))
        if start < 0:
            return "".join([*parts, rest])
        body, tail = _braced(rest[start + len(command) :])
        parts.append(rest[:start])
        rest = body + tail


def _braced(text: str) -> tuple[str, str]:
    """Cut ``text`` at the brace that closes the group it starts in; an unclosed group reaches to the end."""
    depth = 1
    for at, char in enumerate(text):
        escaped = at > 0 and text[at - 1] == "\\"
        depth += 0 if escaped else (char == "{") - (char == "}")
        if depth == 0:
            return text[:at], text[at + 1 :]
    return text, ""
