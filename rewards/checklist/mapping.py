"""From a requirement's text to the constraint checker that decides it, where there is one beyond doubt.

Two ways, both of which have to account for every word of the text: the inverse of ``describe``, built from the
registry's own wordings, and the wordings that people and models use for the same thing (``wordings``). Whatever is
not certain stays unmapped: a judge decides it less cheaply, but a wrong rule would train the wrong thing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from string import Formatter
from typing import Any

from adhere.rewards.checklist.numerals import NUMBERS
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.checklist.wordings import from_wording
from adhere.rewards.constraints import Checker, Constraint, Param, registry
from adhere.rewards.errors import ConstraintError

LONGEST_TEXT = 1000
"""Characters beyond which a text is not a single requirement and is left to the judge."""

MOST_TRIALS = 20_000

_QUOTED = re.compile(r'"([^"]*)"|`([^`]*)`|\'([^\']*)\'|\*([^*]*)\*')
_SEPARATOR = re.compile(r"\s*,\s*|\s+(?:and|or)\s+")
_INTEGER = re.compile(r"\d{1,9}")
_WORD = re.compile(r"[a-z]+")


def map_requirement(text: str, *, question: str | None = None, english: bool = False) -> RuleCheck | None:
    """Return the rule that decides ``text``, or ``None`` where no registered constraint says exactly the same.

    ``question`` is the problem without its instructions: constraints such as ``combination:repeat_prompt`` take it as
    an argument that their phrasings do not quote, and stay unmapped without it. ``english`` says that a response in
    another language is out of the question, so that a demand for capitals alone means capitals in English, which is
    what the checkers of letter case decide.
    """
    if len(text) > LONGEST_TEXT:
        return None
    found = phrased(text, question)
    if not found:
        return from_wording(text, english=english)
    readings = Counter(check.constraint for check in found)
    return next((check for check in found if readings[check.constraint] == 1), None)


def phrased(text: str, question: str | None = None) -> list[RuleCheck]:
    """Return every constraint with arguments for which some phrasing of the registry reads ``text``.

    White space and case are ignored. Two ids may share a phrasing (MathIF and IFEval name some constraints
    differently); they come in the registry's order.
    """
    found: list[RuleCheck] = []
    for constraint in registry().values():
        for variant in range(len(constraint.wordings)):
            match = _pattern(constraint.wordings[variant]).fullmatch(text.strip())
            if match is None:
                continue
            for checker in _inverted(constraint, variant, text, match.groups(), question):
                check = RuleCheck.of(checker)
                if check not in found:
                    found.append(check)
    return found


@cache
def _pattern(phrasing: str) -> re.Pattern[str]:
    """Return a pattern in which each placeholder of ``phrasing`` is a group."""
    parts = []
    for literal, name, _, _ in Formatter().parse(phrasing):
        words = [re.escape(word) for word in re.split(r"\s+", literal)]
        parts.append(r"\s+".join(words))
        if name is not None:
            parts.append("(.+?)")
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def _inverted(
    constraint: Constraint, variant: int, text: str, captured: tuple[str, ...], question: str | None
) -> list[Checker]:
    """Return the checkers that ``describe`` as ``text``: their arguments guessed from what was captured, then tried."""
    pool = [*_values(captured), *([] if question is None else [question])]
    choices = [_accepted(param, pool, question) for param in constraint.params]
    wanted = _flat(text)
    found: list[Checker] = []
    for trial, values in enumerate(product(*choices)):
        if trial >= MOST_TRIALS:
            return []
        kwargs = {param.name: value for param, value in zip(constraint.params, values, strict=True)}
        try:
            checker = Checker(constraint, constraint.clean(kwargs))
        except ConstraintError:
            continue
        if checker not in found and _flat(checker.describe(variant)) == wanted:
            found.append(checker)
    repeating = [checker for checker in found if question is not None and question in checker.kwargs.values()]
    return repeating if len(found) > 1 and len(repeating) == 1 else found


def _values(captured: tuple[str, ...]) -> Iterator[Any]:
    """Yield what a placeholder's text may stand for: strings, lists of strings and whole numbers."""
    for part in captured:
        quoted = ["".join(groups) for groups in _QUOTED.findall(part)]
        split = [word for word in _SEPARATOR.split(part) if word]
        yield from (part, *quoted, quoted, split, [part])
        spoken = [NUMBERS[word] for word in _WORD.findall(part.lower()) if word in NUMBERS]
        for number in [*map(int, _INTEGER.findall(part)), *spoken]:
            yield from (number, number + 1, number - 1)


def _accepted(param: Param, pool: list[Any], question: str | None) -> list[Any]:
    """Return the distinct values of ``pool`` that the parameter takes.

    A text with a quotation mark inside was torn out of a list of quoted texts, unless it is the question.
    """
    accepted: list[Any] = []
    for value in [*pool, *getattr(param, "options", ())]:
        try:
            clean = param.parse(value)
        except ValueError:
            continue
        texts = clean if isinstance(clean, list) else [clean]
        torn = any(isinstance(text, str) and '"' in text for text in texts) and clean != question
        if not torn and clean not in accepted:
            accepted.append(clean)
    return accepted


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()
