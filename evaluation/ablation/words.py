"""What an ablation found, in sentences that claim no more than its intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adhere.evaluation.ablation.differences import Difference
from adhere.evaluation.ablation.pareto import FrontArm
from adhere.evaluation.metrics import Metric

NAMES: Mapping[Metric, str] = {"accuracy": "accuracy", "hacc": "HAcc", "sacc": "SAcc", "joint": "joint"}
ONE_SEED = "one seed only: the interval does not hold the variation between runs"


def verdict_sentence(joint: Difference, accuracy: Difference) -> str:
    """Say how an arm stands to the reference: on joint, and at what cost or gain of accuracy.

    Better and worse are claimed where the simultaneous interval of all arms excludes 0; what follows ± is half of its
    width, in percentage points.
    """
    arm, reference = joint.arm, joint.reference
    if joint.mean is None:
        return f"{arm}: has no scored prompt in common with {reference}"
    if joint.sign == 0:
        sentence = f"{arm} cannot be told apart from {reference} on joint ({joint} points)"
    else:
        sentence = f"{arm} is {'better' if joint.sign > 0 else 'worse'} than {reference} on joint by {joint.size}"
    if accuracy.mean is not None:
        if accuracy.sign == 0 == joint.sign:
            sentence += f" nor on accuracy ({accuracy} points)"
        elif accuracy.sign == 0:
            sentence += f" at no measurable loss of accuracy ({accuracy} points)"
        elif accuracy.sign == joint.sign:
            sentence += f" and on accuracy by {accuracy.size}"
        elif joint.sign == 0:
            sentence += f" but is {'better' if accuracy.sign > 0 else 'worse'} on accuracy by {accuracy.size}"
        else:
            sentence += f" at a {'gain' if accuracy.sign > 0 else 'loss'} of accuracy of {accuracy.size}"
    return f"{sentence}; {ONE_SEED}" if joint.runs < 2 else sentence


def front_sentence(front: Sequence[FrontArm]) -> str:
    """Name the arms on the Pareto front of accuracy and HAcc, and those that may well be on it."""
    there = [f"{arm.arm} ({arm.support:.0%} of resamples)" for arm in front if arm.on_front]
    likely = [f"{arm.arm} ({arm.support:.0%})" for arm in front if not arm.on_front and arm.support >= 0.25]
    text = f"on the front of accuracy and HAcc: {', '.join(there) or 'no arm'}"
    return f"{text}; not ruled out: {', '.join(likely)}" if likely else text


def best_sentence(shares: Mapping[str, float]) -> str:
    """Name the arms that are best on joint in at least a twentieth of the resamples."""
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])
    named = [f"{arm} ({share:.0%})" for arm, share in ranked if share >= 0.05]
    return f"best on joint, by share of resamples: {', '.join(named)}"
