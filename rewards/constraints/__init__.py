"""Constraints: instructions whose fulfilment a deterministic checker decides, in two modes.

The ids are those of MathIF (15), of IFEval (11 that MathIF lacks), of IFTrain (29) and of ReasonIF (6, on the
reasoning). ``compat`` agrees with the official evaluators, ``hardened`` closes their holes. ``core`` says what a
constraint is and what can be done with one, ``families`` has those that ship (an id's prefix names the file), ``text``
the views of a text that they look at. To add a constraint, here or in a plug-in, write one class (``Constraint`` says
what it holds) and decorate it with ``register``: validation, sampling, the reference and the recipe's keys follow.
"""

from adhere.rewards.constraints.core.batch import RuleCall, check_batch, costly_call
from adhere.rewards.constraints.core.composing import by_scope, comply, conflicts, transform_order
from adhere.rewards.constraints.core.constraint import (
    CONSTRAINTS,
    Choice,
    Constraint,
    Count,
    Kwargs,
    Mode,
    Needed,
    Param,
    Step,
    Text,
    Word,
    WordList,
    counted,
    decided,
    off_by,
    register,
)
from adhere.rewards.constraints.core.library import (
    Checker,
    check,
    check_scoped,
    collections,
    describe,
    paraphrases,
    prepare,
    registry,
    sample,
    sample_checker,
    transform,
    validate,
)
from adhere.rewards.constraints.core.official import check_loose, follow, loose_variants, official_cut
from adhere.rewards.constraints.core.pools import DEFAULT_RANGES, MATHIF_KEYWORDS, TRAINING_KEYWORDS, ArgumentSource
from adhere.rewards.constraints.core.redundancy import redundant
from adhere.rewards.constraints.core.variety import WordBand, WordClass, draw_phrase, wide_keywords

__all__ = [
    "CONSTRAINTS",
    "DEFAULT_RANGES",
    "MATHIF_KEYWORDS",
    "TRAINING_KEYWORDS",
    "ArgumentSource",
    "Checker",
    "Choice",
    "Constraint",
    "Count",
    "Kwargs",
    "Mode",
    "Needed",
    "Param",
    "RuleCall",
    "Step",
    "Text",
    "Word",
    "WordBand",
    "WordClass",
    "WordList",
    "by_scope",
    "check",
    "check_batch",
    "check_loose",
    "check_scoped",
    "collections",
    "comply",
    "conflicts",
    "costly_call",
    "counted",
    "decided",
    "describe",
    "draw_phrase",
    "follow",
    "loose_variants",
    "off_by",
    "official_cut",
    "paraphrases",
    "prepare",
    "redundant",
    "register",
    "registry",
    "sample",
    "sample_checker",
    "transform",
    "transform_order",
    "validate",
    "wide_keywords",
]
