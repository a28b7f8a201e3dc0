"""The constraint library: MathIF's 15 checkers by id, in two modes, and all that training needs around them.

``compat`` agrees with the official evaluator (arXiv 2505.14810), ``hardened`` closes its holes. To add a constraint,
write one class in the file of its family (``base.Constraint`` says what it holds) and decorate it with ``register``:
validation, the reference table and the recipe key follow.
"""

from rewards.constraints.base import Constraint, Mode
from rewards.constraints.batch import RuleCall, check_batch, costly_call
from rewards.constraints.composing import ORDER, comply, conflicts
from rewards.constraints.library import (
    DEFAULT_RANGES,
    check,
    describe,
    paraphrases,
    registry,
    sample,
    transform,
    validate,
)
from rewards.constraints.official import official_cut
from rewards.constraints.vocabulary import MATHIF_KEYWORDS, TRAINING_KEYWORDS

__all__ = [
    "DEFAULT_RANGES",
    "MATHIF_KEYWORDS",
    "ORDER",
    "TRAINING_KEYWORDS",
    "Constraint",
    "Mode",
    "RuleCall",
    "check",
    "check_batch",
    "comply",
    "conflicts",
    "costly_call",
    "describe",
    "official_cut",
    "paraphrases",
    "registry",
    "sample",
    "transform",
    "validate",
]
