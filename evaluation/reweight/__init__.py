"""Other rewards on recorded rollouts: what a different weighting would have reinforced, with no model and no torch."""

from evaluation.reweight.report import show, write
from evaluation.reweight.rescore import check_recomputable, needs_requirements
from evaluation.reweight.rollouts import Rollouts, read_rollouts
from evaluation.reweight.signal import Signal, signal, weights_by_group
from evaluation.reweight.study import Point, Study, study

__all__ = [
    "Point",
    "Rollouts",
    "Signal",
    "Study",
    "check_recomputable",
    "needs_requirements",
    "read_rollouts",
    "show",
    "signal",
    "study",
    "weights_by_group",
    "write",
]
