"""A constraint whose arguments are known to be good, ready to decide many texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adhere.rewards.constraints.core.constraint import MODES, Constraint, Mode
from adhere.rewards.constraints.text.views import blank, boxed_spans
from adhere.rewards.errors import ConfigError, ConstraintError
from adhere.rewards.verdict import Status, Verdict, failed, unscored

EMPTY = "the text is empty"


@dataclass(frozen=True, slots=True)
class Checker:
    """A constraint with clean arguments: call it with a text.

    ``library.prepare`` makes one and validates the arguments, once for all that is done with it.
    """

    constraint: Constraint
    kwargs: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The constraint's id."""
        return self.constraint.id

    def __call__(self, text: str, mode: Mode = "hardened") -> Verdict:
        """Return 1.0 or 0.0 with one line that says why; no score where a keyword is not a regular expression."""
        if mode not in MODES:
            raise ConstraintError(f"mode: '{mode}' is neither 'compat' nor 'hardened'")
        if not text or text.isspace() or (mode == "hardened" and blank(text)):
            return failed(EMPTY)
        decide = self.constraint.compat if mode == "compat" else self.constraint.hardened
        try:
            verdict = decide(text, self.kwargs)
        except re.error as error:
            return unscored(Status.ERROR, f"a keyword is not a regular expression, the official code raises: {error}")
        if not isinstance(verdict, Verdict):
            raise ConfigError(
                f"{type(self.constraint).__module__}: {mode} of the constraint '{self.id}' returned "
                f"{type(verdict).__name__}; return passed(why) or failed(why) of adhere.rewards.verdict"
            )
        return verdict

    def scoped(self, text: str, reasoning: str | None, mode: Mode = "hardened") -> Verdict:
        """Decide the part of a response that the constraint is about; it fails on a ``reasoning`` that is ``None``."""
        if self.constraint.scope == "answer":
            return self(text, mode)
        return failed("no finished reasoning block") if reasoning is None else self(reasoning, mode)

    def meets(self, text: str) -> bool:
        """Whether ``text`` meets the constraint in both modes."""
        return all(self(text, mode).passed for mode in MODES)

    def describe(self, variant: int = 0) -> str:
        """Ask for it in English; ``variant`` (modulo the number of wordings) is the wording, 0 is the official one."""
        wordings = self.constraint.wordings
        return wordings[variant % len(wordings)].format(**self.constraint.fields(self.kwargs))

    def transform(self, text: str) -> str | None:
        """Rewrite ``text`` so that it meets the constraint in both modes; ``None`` where that cannot be done.

        The last ``\\boxed{...}`` survives; only its case, its thousands separators and its spacing may change. A
        text that already complies is returned as it is, so applying a transform twice is applying it once.
        """
        if self.meets(text):
            return text
        done = self.constraint.rewrite(text, self.kwargs) if text.strip() else None
        if done is None or not self.meets(done):
            return None
        boxes = [
            re.sub(r"[\s,\\]", "", whole[slice(*spans[-1])]).casefold() if (spans := boxed_spans(whole)) else ""
            for whole in (done, text)
        ]
        return done if boxes[0] == boxes[1] else None

    def excludes(self, other: Checker) -> bool:
        """Whether this constraint, seen from its side alone, leaves no sensible response that meets ``other`` too."""
        needed = other.constraint.needs(other.kwargs)
        if needed is not None and self.constraint.rules_out(self.kwargs, needed):
            return True
        return self.constraint.clashes(self.kwargs, other.id, other.kwargs)
