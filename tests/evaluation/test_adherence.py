"""One scorer for training and evaluation: the same responses get the same correct, HAcc, SAcc and joint."""

from __future__ import annotations

import pytest

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import score_responses
from adhere.prompts.item import PromptItem
from adhere.rewards.adherence import Adherence, adherence, rate
from adhere.rewards.checklist import Requirement, parse_checklist
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import default_engine
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status, Verdict, failed, passed, unscored

BOTH = parse_checklist(
    [
        {"id": "no_comma", "text": "no comma", "check": {"constraint": "punctuation:no_comma"}},
        {"id": "quoted", "text": "quoted", "check": {"constraint": "startend:quotation"}},
    ],
    where="test",
)
RESPONSES = [
    "it is \\boxed{5}",
    '"it is \\boxed{4}"', '"well, it is \\boxed{4}"', "well, it is \\boxed{4}", '"it is \\boxed{5}"',
    "", "   ", '<think>2 + 2, I think</think>"it is \\boxed{4}"', "<think>never closed", '"\\boxed{4} or \\boxed{5}"',
    '"\\boxed{' + "9" * 400 + '}"', "ſ“\\boxed{４}”",
]  # fmt: skip
GOLDS = ["4", None, "\\frac{1"]
CHECKLISTS = [BOTH, BOTH[:1], ()]


@pytest.mark.parametrize("scoring", ["mean", "weighted_mean", "all"])
@pytest.mark.parametrize("gold", GOLDS)
@pytest.mark.parametrize("checklist", CHECKLISTS, ids=["two", "one", "none"])
def test_training_and_evaluation_agree(checklist: tuple[Requirement, ...], gold: str | None, scoring: str) -> None:
    """However the reward joins the requirements, the headline figures are those of the evaluation."""
    item = PromptItem("i", ({"role": "user", "content": "2 + 2?"},), gold, checklist, "toy")
    evaluated = score_responses([(item, Generation(text, 10, True)) for text in RESPONSES])
    kinds = {"math": {"kind": "math"}, "checklist": {"kind": "checklist", "scoring": scoring, "gate": "math"}}
    composite = Composite(RewardConfig.model_validate({"components": kinds}), default_engine())
    rollouts = [Rollout("2 + 2?", text, gold, checklist, tokens=10) for text in RESPONSES]
    verdicts = composite.score(rollouts).verdicts
    for text, score, *pair in zip(RESPONSES, evaluated, verdicts["math"], verdicts["checklist"], strict=True):
        trained = adherence(*pair)
        figures = (score.correct.score, score.hacc, score.sacc, score.joint)
        assert (trained.correct, trained.followed, trained.sacc, trained.joint) == figures, text


LATE, NOT_ASKED = unscored(Status.TIMEOUT, "late"), unscored(Status.NOT_APPLICABLE, "not asked")


@pytest.mark.parametrize(
    ("answer", "checklist", "expected"),
    [
        (passed(), Verdict(0.5, parts=(passed(), failed())), Adherence(True, False, 0.5)),
        (passed(), Verdict(0.0, parts=(passed(), failed())), Adherence(True, False, 0.5)),
        (failed(), Verdict(1.0, parts=(passed(), NOT_ASKED)), Adherence(False, True, 1.0)),
        (passed(), Verdict(0.7, parts=(Verdict(0.7),)), Adherence(True, False, 0.7)),
        (passed(), Verdict(0.9), Adherence(True, False, 0.9)),
        (LATE, passed(), Adherence(None, True, 1.0)),
        (None, passed(), Adherence(None, True, 1.0)),
        (passed(), None, Adherence(True, None, None)),
        (passed(), Verdict(None, Status.TIMEOUT, parts=(passed(), LATE)), Adherence(True, None, None)),
        # A judge that the gate left unasked: the rest of the checklist is not the checklist.
        (failed(), Verdict(None, Status.NOT_APPLICABLE, parts=(passed(), NOT_ASKED)), Adherence(False, None, None)),
    ],
)
def test_figures_by_hand(answer: Verdict | None, checklist: Verdict | None, expected: Adherence) -> None:
    assert adherence(answer, checklist) == expected


def test_joint_needs_both_sides() -> None:
    assert Adherence(True, True, 1.0).joint is True
    assert Adherence(True, False, 0.5).joint is Adherence(False, True, 1.0).joint is False
    assert Adherence(None, False, 0.5).joint is Adherence(False, None, None).joint is None


def test_a_rate_is_taken_over_what_was_decided() -> None:
    assert rate([True, None, False, True]) == pytest.approx(2 / 3)
    assert rate([None]) != rate([None]), "NaN"
