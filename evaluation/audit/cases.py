"""The cases of an audit: prompt items, each with the honest answers that its probes are measured against."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adhere.prompts.attach import LANGUAGES
from adhere.prompts.config import SftTargetConfig
from adhere.prompts.item import PromptItem
from adhere.prompts.probes import probe
from adhere.prompts.targets import TargetCounts, build_targets
from adhere.rewards.checklist import JudgeCheck, ProgramCheck, RuleCheck
from adhere.rewards.checklist.checks import Leaf, leaves
from adhere.rewards.constraints import comply
from adhere.rewards.errors import DataError
from adhere.rewards.math import verify_answer
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN

OBEYING = SftTargetConfig(compliance=1.0)
IGNORING = SftTargetConfig(compliance=0.0)
WHOLE = re.compile(r"-?\d{1,1000}")
"""A gold answer that is calculated with; one that only verifies, such as ``--5``, is taken as it is."""

WRONG_GUESSES = ("7919", "0", "-1", "\\frac{1}{7919}", "blue")


@dataclass(frozen=True, slots=True)
class Form:
    """How responses are written: ``reasoning`` puts a thought before the answer.

    ``prefilled`` says that the chat template has already opened ``<think>`` in the prompt; it needs ``reasoning``.
    """

    reasoning: bool = False
    prefilled: bool = False

    def respond(self, answer: str, thought: str) -> str:
        """Return the response whose scored part is ``answer``."""
        if not self.reasoning:
            return answer
        return f"{self.open(thought)}\n{THINK_CLOSE}\n\n{answer}"

    def open(self, thought: str) -> str:
        """Return an unfinished reasoning block."""
        return thought if self.prefilled else f"{THINK_OPEN}\n{thought}"


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt item and its honest answers, as scored text without reasoning.

    ``honest`` is right and meets the checklist, ``plain`` is right and written as if there were no checklist,
    ``wrong`` meets the checklist and is wrong (``None`` where none could be built). ``obeys`` says whether ``plain``
    meets the checklist all the same. ``wrong_value`` is an answer that does not verify, ``donor`` a worked answer to
    another question.
    """

    item: PromptItem
    gold: str
    honest: str
    plain: str
    obeys: bool
    wrong: str | None
    wrong_value: str
    donor: str | None
    form: Form

    @property
    def thought(self) -> str:
        """What an honest response reasons before its answer."""
        return self.item.solution or "First write down what is given and then combine the amounts."

    def respond(self, answer: str) -> str:
        """Return the whole response around ``answer``, in the form that the prompt calls for."""
        return self.form.respond(answer, self.thought)

    def obeying(self, text: str) -> str | None:
        """Return ``text`` rewritten to meet the checklist, or ``None`` where that fails."""
        return comply(text, [rule.checker for rule in rules(self.item)])


@dataclass(frozen=True, slots=True)
class Cases:
    """The cases, and the ids of the items that none could be built for, each with the reason."""

    cases: tuple[Case, ...]
    left_out: tuple[str, ...]


def build_cases(items: Sequence[PromptItem], form: Form | None = None) -> Cases:
    """Build the case of every item that has a gold answer and an honest answer.

    Raises:
        DataError: there is none, with the reasons.
    """
    form = form or Form()
    built: list[Case] = []
    left_out: list[str] = []
    for item in items:
        case = _case(item, items, form)
        if isinstance(case, str):
            left_out.append(f"{item.id}: {case}")
        else:
            built.append(case)
    if not built:
        raise DataError(
            f"audit: none of {len(items)} prompt items can be audited; {'; '.join(left_out[:3])}. "
            f"Give items with gold answers and constraints that can be met, prompts=FILE for one"
        )
    return Cases(tuple(built), tuple(left_out))


def rules(item: PromptItem) -> list[RuleCheck]:
    """Return the constraints on the answer that alone decide a requirement."""
    return [rule for r in item.checklist if (rule := r.rule) is not None and _on_answer(rule)]


def _on_answer(rule: RuleCheck) -> bool:
    return rule.checker.constraint.scope == "answer"


def _case(item: PromptItem, items: Sequence[PromptItem], form: Form) -> Case | str:
    if item.answer is None:
        return "no gold answer, so that no answer can be told to be right"
    for requirement in item.checklist:
        if requirement.rules and (requirement.rule is None or not _on_answer(requirement.rule)):
            return f"no answer that is sure to meet '{requirement.id}' can be built"
    for requirement in item.checklist:
        if any(isinstance(leaf, ProgramCheck) or _has_program(leaf) for leaf in leaves(requirement.check)):
            return f"a program decides '{requirement.id}', and no answer that is sure to meet it can be built"
    honest = _answer(item, item.answer, obey=True)
    plain = _answer(item, item.answer, obey=False)
    if honest is None or plain is None:
        return "no honest answer that verifies and meets the checklist could be built"
    value = _wrong_value(item.answer)
    return Case(
        item=item,
        gold=item.answer,
        honest=honest,
        plain=plain,
        obeys=_obeys(item, plain),
        wrong=_answer(replace(item, answer=value), value, obey=True),
        wrong_value=value,
        donor=_donor(item, items),
        form=form,
    )


def _has_program(leaf: Leaf) -> bool:
    return isinstance(leaf, JudgeCheck) and leaf.program is not None


def _answer(item: PromptItem, value: str, *, obey: bool) -> str | None:
    """Return a worked answer that ends in ``value``, made as SFT targets are; else a short one in the right language.

    The obeying one meets every constraint in both modes.
    """
    made = build_targets([replace(item, target=None)], OBEYING if obey else IGNORING, TargetCounts())
    if made and (text := made[0].target) is not None and (not obey or _obeys(item, text)):
        return text
    language = next((str(rule.kwargs["language"]) for rule in rules(item) if rule.constraint in LANGUAGES), "en")
    draft = probe(language if obey else "en", value)
    text = comply(draft, [rule.checker for rule in rules(item)]) if draft is not None and obey else draft
    return text if text is not None and verify_answer(value, text).passed else None


def _obeys(item: PromptItem, text: str) -> bool:
    return all(rule.checker(text).passed for rule in rules(item))


def _wrong_value(gold: str) -> str:
    near = [str(int(gold) + 1)] if WHOLE.fullmatch(gold) else []
    return next(guess for guess in [*near, *WRONG_GUESSES] if not verify_answer(gold, f"\\boxed{{{guess}}}").passed)


def _donor(item: PromptItem, items: Sequence[PromptItem]) -> str | None:
    """Return the question and answer of another item whose answer is wrong here."""
    for other in items:
        if other.answer is None or other.id == item.id:
            continue
        answer = _answer(replace(other, checklist=()), other.answer, obey=False)
        if answer is not None and not verify_answer(str(item.answer), answer).passed:
            return f"{other.question}\n{answer}"
    return None
