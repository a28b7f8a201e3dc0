"""Other rewards on recorded rollouts: what a different weighting would have reinforced, with no model and no torch."""

from adhere.evaluation.reweight.report import show, write
from adhere.evaluation.reweight.rescore import check_recomputable, needs_requirements
from adhere.evaluation.reweight.rollouts import Rollouts, read_rollouts
from adhere.evaluation.reweight.signal import recorded_signal
from adhere.evaluation.reweight.study import Point, Study, study

__all__ = [
    "Point",
    "Rollouts",
    "Study",
    "check_recomputable",
    "needs_requirements",
    "read_rollouts",
    "recorded_signal",
    "show",
    "study",
    "write",
]
