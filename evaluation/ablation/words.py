"""What an ablation found, in sentences that claim no more than its intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adhere.evaluation.ablation.differences import Difference
from adhere.evaluation.ablation.pareto import FrontArm
from adhere.evaluation.metrics import Metric

NAMES: Mapping[Metric, str] = {"accuracy": "accuracy", "hacc": "HAcc", "sacc": "SAcc", "joint": "joint"}
CAUTIONS: Mapping[int, str] = {
    1: "one seed only: the interval does not hold the variation between runs",
    2: "two seeds only: how much runs vary rests on one difference, so use three or more",
}
"""What is said of a difference that rests on so few runs."""


def verdict_sentence(joint: Difference, accuracy: Difference, margin: float) -> str:
    """Say how an arm stands to the reference: on joint, and at what cost or gain of accuracy.

    Better and worse are claimed where the simultaneous interval of all arms excludes 0, of two runs or more; what
    follows ± is half of its width, in percentage points. Of one run the figures are said, and nothing is claimed.

    Args:
        joint: the arm's difference in joint.
        accuracy: its difference in accuracy.
        margin: points of accuracy; no loss is called measurable where the interval excludes one of as many.
    """
    arm, reference = joint.arm, joint.reference
    if joint.mean is None:
        return f"{arm}: has no scored prompt in common with {reference}"
    beside = "" if accuracy.mean is None else f", accuracy {accuracy} points"
    if joint.runs < 2:
        return f"{arm} − {reference} on these prompts: joint {joint} points{beside}; {CAUTIONS[1]}"
    if joint.sign == 0:
        sentence = f"{arm} cannot be told apart from {reference} on joint ({joint} points)"
    else:
        sentence = f"{arm} is {'better' if joint.sign > 0 else 'worse'} than {reference} on joint by {joint.size}"
    if accuracy.mean is not None:
        if accuracy.sign == 0 == joint.sign:
            sentence += f" nor on accuracy ({accuracy} points)"
        elif accuracy.sign == 0 and accuracy.not_lower(margin):
            sentence += f" at no measurable loss of accuracy, with a margin of {margin:g} points ({accuracy} points)"
        elif accuracy.sign == 0:
            sentence += f"; a loss of accuracy of {margin:g} points or more is not ruled out ({accuracy} points)"
        elif accuracy.sign == joint.sign:
            sentence += f" and on accuracy by {accuracy.size}"
        elif joint.sign == 0:
            sentence += f" but is {'better' if accuracy.sign > 0 else 'worse'} on accuracy by {accuracy.size}"
        else:
            sentence += f" at a {'gain' if accuracy.sign > 0 else 'loss'} of accuracy of {accuracy.size}"
        if accuracy.sign < 0 and accuracy.not_lower(margin):
            sentence += f", within the margin of {margin:g}"
    return f"{sentence}; {CAUTIONS[2]}" if joint.runs == 2 else sentence


def cautions(found: Sequence[Difference]) -> list[str]:
    """Return one sentence for each number of runs that is too low, with the arms that it is about if not all are."""
    scored = [d for d in found if d.mean is not None]
    sentences = []
    for runs, text in CAUTIONS.items():
        few = [d.arm for d in scored if d.runs == runs]
        if few:
            sentences.append(
                f"{text[0].upper()}{text[1:]}." if len(few) == len(scored) else f"{', '.join(few)}: {text}."
            )
    return sentences


def front_sentence(front: Sequence[FrontArm], *, single: bool = False) -> str:
    """Name the arms on the Pareto front of accuracy and HAcc, and those that may well be on it.

    With a ``single`` run behind an arm, it is the front of these runs, not of what would be trained again.
    """
    there = [f"{arm.arm} ({arm.support:.0%} of resamples)" for arm in front if arm.on_front]
    likely = [f"{arm.arm} ({arm.support:.0%})" for arm in front if not arm.on_front and arm.support >= 0.25]
    text = f"on the front of accuracy and HAcc{' of these runs' * single}: {', '.join(there) or 'no arm'}"
    return f"{text}; not ruled out: {', '.join(likely)}" if likely else text


def best_sentence(shares: Mapping[str, float]) -> str:
    """Name the arms that are best on joint in at least a twentieth of the resamples."""
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])
    named = [f"{arm} ({share:.0%})" for arm, share in ranked if share >= 0.05]
    return f"best on joint, by share of resamples: {', '.join(named)}"
