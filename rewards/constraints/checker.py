"""A constraint whose arguments are known to be good, ready to decide many texts."""

from __future__ import annotations

import re

from adhere.rewards.constraints.base import Constraint, Kwargs, Mode
from adhere.rewards.constraints.text import blank
from adhere.rewards.verdict import Status, Verdict, failed, passed, unscored

EMPTY = "the text is empty"


class Checker:
    """Decides one constraint in one mode: call it with a text. ``kwargs`` are clean, as ``validate`` returns them.

    Arguments are validated when one is made (``library.prepare``), once for all the texts that it decides.
    """

    __slots__ = ("_decide", "constraint", "kwargs", "mode")

    def __init__(self, constraint: Constraint, kwargs: Kwargs, mode: Mode) -> None:
        self.constraint, self.kwargs, self.mode = constraint, kwargs, mode
        self._decide = constraint.compat if mode == "compat" else constraint.hardened

    def __call__(self, text: str) -> Verdict:
        """Return 1.0 or 0.0 with one line that says why; no score where a keyword is no regular expression."""
        if not text or text.isspace() or (self.mode == "hardened" and blank(text)):
            return failed(EMPTY)
        try:
            ok, detail = self._decide(text, self.kwargs)
        except re.error as error:
            return unscored(Status.ERROR, f"a keyword is no regular expression, the official code raises: {error}")
        return passed(detail) if ok else failed(detail)
