"""What GRPO would find to learn from: groups drawn from the policy that it starts from, before it is trained."""

from adhere.evaluation.rehearsal.alternatives import Alternative, alternatives
from adhere.evaluation.rehearsal.figures import Rehearsal, rehearse
from adhere.evaluation.rehearsal.verdict import Change, Verdict, judge_rehearsal

__all__ = [
    "Alternative",
    "Change",
    "Rehearsal",
    "Verdict",
    "alternatives",
    "judge_rehearsal",
    "rehearse",
]
