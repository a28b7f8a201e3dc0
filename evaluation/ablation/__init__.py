"""Statistics of many arms over prompts and seeds: differences, corrections, the Pareto front, and words."""

from adhere.evaluation.ablation.analysis import Analysis, analyse, markdown, write
from adhere.evaluation.ablation.differences import Difference, differences, holm
from adhere.evaluation.ablation.pareto import FrontArm, pareto_front
from adhere.evaluation.ablation.resampling import Draws, replicate
from adhere.evaluation.ablation.tables import Arm, Responses, read_scores

__all__ = [
    "Analysis",
    "Arm",
    "Difference",
    "Draws",
    "FrontArm",
    "Responses",
    "analyse",
    "differences",
    "holm",
    "markdown",
    "pareto_front",
    "read_scores",
    "replicate",
    "write",
]
