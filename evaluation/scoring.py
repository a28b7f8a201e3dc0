"""The score of a response: is the answer right, is every constraint met, are both true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.mathif_grader import official_correct
from adhere.prompts.item import PromptItem
from adhere.rewards.adherence import adherence
from adhere.rewards.checklist import Decider, Requirement
from adhere.rewards.checklist import score_batch as score_checklists
from adhere.rewards.constraints import CONSTRAINTS, Mode, official_cut
from adhere.rewards.engine import Engine, default_engine
from adhere.rewards.math import verify_batch
from adhere.rewards.segments import split_response
from adhere.rewards.verdict import Status, Verdict, failed, unscored

MODES: tuple[Mode, ...] = ("compat", "hardened")
UNFINISHED = "unfinished reasoning: the response has no answer"


@dataclass(frozen=True, slots=True)
class Score:
    """The verdicts on one response.

    ``verdicts`` follow the order of the checklist. ``hacc``, ``sacc`` and ``joint`` are those of
    `rewards.adherence.Adherence`, as numbers: ``None`` where nothing is to be scored, or where a verdict that one
    needs has no score. ``official`` is what MathIF's runner says of the answer, in ``compat`` and where there is a gold
    answer; ``joint_official`` joins it with ``hacc``.

    ``measures`` are the suite's own figures by their official names: for each the values in [0, 1] that this response
    adds to the mean over all of them, one for a figure of prompts, one a constraint for a figure of constraints.
    ``None`` stands for what could not be decided.
    """

    correct: Verdict
    verdicts: tuple[Verdict, ...]
    hacc: float | None
    sacc: float | None
    joint: float | None
    official: bool | None = None
    measures: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    @property
    def joint_official(self) -> float | None:
        """Whether the answer is right by MathIF's runner and every constraint is met."""
        return None if self.official is None or self.hacc is None else float(self.official and self.hacc == 1.0)

    def to_dict(self, checklist: Sequence[Requirement]) -> dict[str, Any]:
        """Return the form written to files; ``checklist`` is the scored one, and names the constraints."""
        return {
            "verdicts": [
                {"id": requirement.label, **verdict.to_dict()}
                for requirement, verdict in zip(checklist, self.verdicts, strict=True)
            ],
            "correct": self.correct.to_dict(),
            "hacc": self.hacc,
            "sacc": self.sacc,
            "joint": self.joint,
        }


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One response to one item with its score; ``sample`` counts the responses to the same item from 0."""

    item: PromptItem
    sample: int
    generation: Generation
    score: Score


def scored_text(item: PromptItem, generation: Generation, mode: Mode) -> str | None:
    """Return the part of a response that is scored, or ``None`` for a reasoning block that never ended.

    ``compat`` cuts MathIF's rows as its driver does, which scores the reasoning itself when ``</think>`` is missing,
    and leaves IFEval's whole, as IFEval's driver does. A row of IFEval has a constraint that only IFEval has, or
    neither a gold answer nor a source of another name.
    """
    if mode == "compat":
        ids = {requirement.label for requirement in item.checklist}
        theirs = any(name in CONSTRAINTS and CONSTRAINTS[name].collection == "ifeval" for name in ids)
        nameless = item.source == "unknown" or "ifeval" in item.source.lower()
        whole = theirs or (item.answer is None and nameless)
        return generation.text if whole else official_cut(generation.text)
    return split_response(generation.text, prefilled=generation.prefilled).answer


def finished_reasoning(generation: Generation) -> str | None:
    """Return the reasoning block of a response, or ``None`` where it is missing or never ended."""
    return split_response(generation.text, prefilled=generation.prefilled).finished_reasoning


def score_responses(
    pairs: Sequence[tuple[PromptItem, Generation]],
    mode: Mode = "hardened",
    engine: Engine | None = None,
    judge: Decider | None = None,
) -> list[Score]:
    """Score responses in order; answers that need a computer algebra system run in ``engine``'s killable workers.

    The answer is judged by this project's verifier in both modes; ``compat`` adds what MathIF's runner says of it,
    which takes answers that are wrong by a factor of 100. Programs of a checklist run in the sandbox.

    Args:
        pairs: items with one response each.
        mode: the constraint checkers that decide.
        engine: worker pool of the verifier; default: the one shared in this process.
        judge: decides the requirements that only a judge can.

    Raises:
        ConfigError: a requirement needs a judge and ``judge`` is ``None``.
    """
    texts = [None if generation.error else scored_text(item, generation, mode) for item, generation in pairs]
    # An unfinished response goes to the verifier too, which says where the gold answer cannot be used.
    drawn = [i for i, (_, generation) in enumerate(pairs) if not generation.error]
    verified = verify_batch([(pairs[i][0].answer, texts[i] or "") for i in drawn], engine or default_engine())
    answers = dict(zip(drawn, verified, strict=True))
    finished = [i for i in drawn if texts[i] is not None]
    totals = score_checklists(
        [texts[i] or "" for i in finished],
        [pairs[i][0].checklist for i in finished],
        [pairs[i][0].messages[-1]["content"] for i in finished],
        "mean",
        mode,
        judge,
        reasonings=[finished_reasoning(pairs[i][1]) for i in finished],
        engine=engine or default_engine(),
    )
    checklists = dict(zip(finished, totals, strict=True))
    scores = []
    for i, (item, generation) in enumerate(pairs):
        if generation.error:
            lost = unscored(Status.ERROR, generation.error)
            answer, checklist = lost, replace(lost, parts=tuple(lost for _ in item.checklist))
        elif texts[i] is None:
            missing = failed(UNFINISHED)
            answer = answers[i] if answers[i].score is None else missing
            nothing = unscored(Status.NOT_APPLICABLE, "no requirement")
            checklist = replace(missing, parts=tuple(missing for _ in item.checklist)) if item.checklist else nothing
        else:
            answer, checklist = answers[i], checklists[i]
        figures = adherence(answer, checklist)
        hacc, joint = (None if flag is None else float(flag) for flag in (figures.followed, figures.joint))
        told = mode == "compat" and item.answer is not None and not generation.error
        official = official_correct(texts[i] or "", item.answer or "") if told else None
        scores.append(Score(answer, checklist.parts, hacc, figures.sacc, joint, official))
    return scores


def score_response(
    item: PromptItem, generation: Generation, mode: Mode = "hardened", engine: Engine | None = None
) -> Score:
    """Score one response; the arguments are those of `score_responses`."""
    return score_responses([(item, generation)], mode, engine)[0]
