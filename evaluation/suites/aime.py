"""The suites ``aime24``, ``aime25`` and ``aime26``: a year's 30 problems, answered by whole numbers to 999."""

from __future__ import annotations

from adhere.evaluation.suites.base import suite
from adhere.evaluation.suites.maths import MathsSuite, integer_answer


class AIME(MathsSuite):
    """AIME I and II of one year."""

    size = 30

    def answer_problem(self, answer: str) -> str | None:
        return integer_answer(answer, 999)


@suite("aime24")
class AIME24(AIME):
    """The file that ``evaluation.path`` names, or the hub's ``HuggingFaceH4/aime_2024``."""

    hub = "HuggingFaceH4/aime_2024"
    split = "train"


@suite("aime25")
class AIME25(AIME):
    """The file that ``evaluation.path`` names, or the hub's ``math-ai/aime25``."""

    hub = "math-ai/aime25"


@suite("aime26")
class AIME26(AIME):
    """The file that ``evaluation.path`` names, or the hub's ``math-ai/aime26``."""

    hub = "math-ai/aime26"
