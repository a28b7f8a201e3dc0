"""The cases of an audit: prompt items, each with the honest answers that its probes are measured against."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adhere.prompts.attach import LANGUAGES
from adhere.prompts.config import SftTargetConfig
from adhere.prompts.item import PromptItem
from adhere.prompts.probes import probe_answer
from adhere.prompts.targets import TargetCounts, build_targets
from adhere.rewards.checklist import JudgeCheck, ProgramCheck, RuleCheck
from adhere.rewards.checklist.requirement import Leaf, leaves
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
        DataError: no case could be built, with the reasons.
    """
    form = form or Form()
    built: list[Case] = []
    left_out: list[str] = []
    for item in items:
        case = build_case(item, items, form)
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
    """Return the constraints on the answer that decide a requirement by themselves."""
    return [rule for r in item.checklist if (rule := r.rule) is not None and rule.checker.constraint.scope == "answer"]


def build_case(item: PromptItem, items: Sequence[PromptItem], form: Form) -> Case | str:
    """Return the case of ``item``, or why none can be built; a donor is one of ``items``."""
    if item.answer is None:
        return "no gold answer, so nobody can say which answer is right"
    for requirement in item.checklist:
        rule = requirement.rule
        if requirement.rules and (rule is None or rule.checker.constraint.scope != "answer"):
            return f"no answer that is sure to meet '{requirement.id}' can be built"
    for requirement in item.checklist:
        if any(decided_by_program(leaf) for leaf in leaves(requirement.check)):
            return f"a program decides '{requirement.id}', and no answer that is sure to meet it can be built"
    honest = worked_answer(item, item.answer, obey=True)
    plain = worked_answer(item, item.answer, obey=False)
    if honest is None or plain is None:
        return "no honest answer that verifies and meets the checklist could be built"
    near = [str(int(item.answer) + 1)] if WHOLE.fullmatch(item.answer) else []
    guesses = [*near, *WRONG_GUESSES]
    value = next(guess for guess in guesses if not verify_answer(item.answer, f"\\boxed{{{guess}}}").passed)
    # The donor is a worked answer to another question that is wrong here.
    donor = None
    for other in items:
        if other.answer is not None and other.id != item.id:
            worked = worked_answer(replace(other, checklist=()), other.answer, obey=False)
            if worked is not None and not verify_answer(item.answer, worked).passed:
                donor = f"{other.question}\n{worked}"
                break
    return Case(
        item=item,
        gold=item.answer,
        honest=honest,
        plain=plain,
        obeys=obeys_rules(item, plain),
        wrong=worked_answer(replace(item, answer=value), value, obey=True),
        wrong_value=value,
        donor=donor,
        form=form,
    )


def decided_by_program(leaf: Leaf) -> bool:
    """Whether generated code decides a check, or helps its judge."""
    return isinstance(leaf, ProgramCheck) or (isinstance(leaf, JudgeCheck) and leaf.program is not None)


def worked_answer(item: PromptItem, value: str, *, obey: bool) -> str | None:
    """Return a worked answer that ends in ``value``, made as SFT targets are, or a short one in the right language.

    The obeying one meets every constraint in both modes.
    """
    made = build_targets([replace(item, target=None)], OBEYING if obey else IGNORING, TargetCounts())
    if made and (text := made[0].target) is not None and (not obey or obeys_rules(item, text)):
        return text
    language = next((str(rule.kwargs["language"]) for rule in rules(item) if rule.constraint in LANGUAGES), "en")
    draft = probe_answer(language if obey else "en", value)
    text = comply(draft, [rule.checker for rule in rules(item)]) if draft is not None and obey else draft
    return text if text is not None and verify_answer(value, text).passed else None


def obeys_rules(item: PromptItem, text: str) -> bool:
    """Whether ``text`` meets the constraints on the answer."""
    return all(rule.checker(text).passed for rule in rules(item))
