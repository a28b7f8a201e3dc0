"""The constraint library: checkers by id, in two modes, and all that training needs around them.

The ids are those of MathIF (15), of IFEval (11 that MathIF lacks) and of ReasonIF (6, on the reasoning). ``compat``
agrees with the official evaluators (arXiv 2505.14810, 2311.07911), ``hardened`` closes their holes. To add a
constraint, write one class in the file of its family (``base.Constraint`` says what it holds) and decorate it with
``register``: validation, the reference table and the recipe key follow.
"""

from adhere.rewards.constraints.base import Constraint, Mode
from adhere.rewards.constraints.batch import RuleCall, check_batch, costly_call
from adhere.rewards.constraints.checker import Checker
from adhere.rewards.constraints.composing import ORDER, by_scope, comply, conflicts
from adhere.rewards.constraints.ifeval import check_loose, check_strict, follow, follow_prepared, loose_variants
from adhere.rewards.constraints.library import (
    DEFAULT_RANGES,
    check,
    check_scoped,
    collections,
    describe,
    paraphrases,
    prepare,
    registry,
    sample,
    transform,
    validate,
)
from adhere.rewards.constraints.official import official_cut
from adhere.rewards.constraints.vocabulary import MATHIF_KEYWORDS, TRAINING_KEYWORDS

__all__ = [
    "DEFAULT_RANGES",
    "MATHIF_KEYWORDS",
    "ORDER",
    "TRAINING_KEYWORDS",
    "Checker",
    "Constraint",
    "Mode",
    "RuleCall",
    "by_scope",
    "check",
    "check_batch",
    "check_loose",
    "check_scoped",
    "check_strict",
    "collections",
    "comply",
    "conflicts",
    "costly_call",
    "describe",
    "follow",
    "follow_prepared",
    "loose_variants",
    "official_cut",
    "paraphrases",
    "prepare",
    "registry",
    "sample",
    "transform",
    "validate",
]
