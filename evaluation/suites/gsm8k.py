"""The suite ``gsm8k``: GSM8K (arXiv 2110.14168), the 1,319 problems of its test split."""

from __future__ import annotations

from adhere.evaluation.suites.base import suite
from adhere.evaluation.suites.maths import MathsSuite


@suite("gsm8k")
class GSM8K(MathsSuite):
    """The file that ``evaluation.path`` names, or the hub's ``openai/gsm8k``."""

    hub = "openai/gsm8k"
    size = 1319
    config = "main"

    def answer_problem(self, answer: str) -> str | None:
        return None if answer.replace(".", "", 1).lstrip("-").isdecimal() else "is not a number"
