"""The suite ``math500``: MATH-500, the 500 problems of MATH (arXiv 2103.03874) that PRM800K held out."""

from __future__ import annotations

from adhere.evaluation.suites.base import suite
from adhere.evaluation.suites.maths import MathsSuite


@suite("math500")
class Math500(MathsSuite):
    """The file that ``evaluation.path`` names, or the hub's ``HuggingFaceH4/MATH-500``."""

    hub = "HuggingFaceH4/MATH-500"
    size = 500
