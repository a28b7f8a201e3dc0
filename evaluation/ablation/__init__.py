"""Statistics of many arms over prompts and seeds: differences, corrections, the Pareto front, and words."""

from evaluation.ablation.analysis import Analysis, Options, analyse, markdown, write
from evaluation.ablation.differences import Difference, differences, holm
from evaluation.ablation.pareto import FrontArm, pareto_front
from evaluation.ablation.resampling import Draws, replicate
from evaluation.ablation.tables import Arm, Responses, read_responses

__all__ = [
    "Analysis",
    "Arm",
    "Difference",
    "Draws",
    "FrontArm",
    "Options",
    "Responses",
    "analyse",
    "differences",
    "holm",
    "markdown",
    "pareto_front",
    "read_responses",
    "replicate",
    "write",
]
