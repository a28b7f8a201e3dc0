"""What GRPO would find to learn from: groups drawn from the policy that it starts from, before it is trained."""

from adhere.evaluation.rehearsal.alternatives import Alternative, alternatives
from adhere.evaluation.rehearsal.figures import Rehearsal, rehearsal_figures
from adhere.evaluation.rehearsal.verdict import Change, RehearsalVerdict, judge_rehearsal

__all__ = [
    "Alternative",
    "Change",
    "Rehearsal",
    "RehearsalVerdict",
    "alternatives",
    "judge_rehearsal",
    "rehearsal_figures",
]
