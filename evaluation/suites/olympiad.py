"""The suite ``olympiad``: OlympiadBench (arXiv 2402.14008), its text-only maths with one answer, 675 problems."""

from __future__ import annotations

from adhere.evaluation.suites.base import suite
from adhere.evaluation.suites.maths import MathsSuite


@suite("olympiad")
class Olympiad(MathsSuite):
    """The file that ``evaluation.path`` names, or the hub's ``zwhe99/simplerl-OlympiadBench``."""

    hub = "zwhe99/simplerl-OlympiadBench"
    size = 675
