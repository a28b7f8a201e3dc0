"""The suite ``minerva``: Minerva maths (arXiv 2206.14858), 272 problems of MIT courses."""

from __future__ import annotations

from adhere.evaluation.suites.base import suite
from adhere.evaluation.suites.maths import MathsSuite


@suite("minerva")
class Minerva(MathsSuite):
    """The file that ``evaluation.path`` names, or the hub's ``zwhe99/simplerl-minerva-math``."""

    hub = "zwhe99/simplerl-minerva-math"
    size = 272
