"""The suite ``amc``: AMC 2022 and 2023, 83 problems whose answers are numbers."""

from __future__ import annotations

from adhere.evaluation.suites.base import suite
from adhere.evaluation.suites.maths import MathsSuite


@suite("amc")
class AMC(MathsSuite):
    """The file that ``evaluation.path`` names, or the hub's ``AI-MO/aimo-validation-amc``."""

    hub = "AI-MO/aimo-validation-amc"
    size = 83
    split = "train"

    def answer_problem(self, answer: str) -> str | None:
        return None if answer.replace(".", "", 1).lstrip("-").isdecimal() else "is not a number"
