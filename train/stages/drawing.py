"""Rollouts that are drawn from a model and scored, without training: for rehearsals and preference pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm
from trl.trainer.utils import RepeatSampler

from adhere.evaluation.backends.transformers import TransformersGenerator
from adhere.evaluation.generation import Sampling
from adhere.evaluation.responses import ResponseLog
from adhere.prompts.item import PromptItem
from adhere.records.artifact import LOG, Artifact, Stopped
from adhere.rewards.composite import BatchScores, Composite
from adhere.rewards.errors import StageError
from adhere.rewards.rollout import Rollout
from adhere.train.model.load import load_for_inference
from adhere.train.stages.setup import on_cpu

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.train.config.stage import StageSpec


def in_training_order(items: Sequence[PromptItem], spec: StageSpec) -> list[PromptItem]:
    """Return the items in the order in which GRPO would take them; those that its first pass leaves out come last."""
    prompts = spec.recipe.completions_per_step // spec.recipe.grpo.group_size
    sampler = RepeatSampler(items, mini_repeat_count=1, batch_size=min(prompts, len(items)), seed=spec.recipe.grpo_seed)
    order = [*sampler]
    return [items[i] for i in order] + [items[i] for i in sorted(set(range(len(items))) - set(order))]


def draw_rollouts(
    spec: StageSpec,
    artifact: Artifact,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[PromptItem],
    sampling: Sampling,
    batch_size: int,
) -> list[Rollout]:
    """Return ``sampling.samples`` rollouts for each item, in order, from the model that the stage starts from.

    What an earlier attempt has drawn is read from its log.

    Args:
        spec: the stage.
        artifact: its folder, which gets the log.
        tokenizer: of the model.
        items: the prompts.
        sampling: how to draw.
        batch_size: responses that are generated at once.

    Raises:
        Stopped: the stage was asked to end; its step is the number of prompts that were answered.
    """
    model = load_for_inference(spec.recipe.model, spec.model_path)
    model.to("cpu" if on_cpu(spec.recipe.launcher) else "cuda")  # type: ignore[arg-type]
    generator = TransformersGenerator(model, tokenizer, name=spec.label, batch_size=batch_size)
    log = ResponseLog(artifact.path / LOG, spec.key, sampling)
    chunk = max(1, batch_size // sampling.samples)
    with tqdm(total=len(items), desc=spec.label, unit="prompt", dynamic_ncols=True) as bar:
        for start in range(0, len(items), chunk):
            waiting = [item for item in items[start : start + chunk] if log.known(item) is None]
            if waiting:
                if artifact.stop.exists():
                    raise Stopped(start)
                log.append(waiting, generator.generate(waiting, sampling))
            bar.update(min(chunk, len(items) - start))
    return [
        Rollout(
            prompt=str(item.messages[-1]["content"]),
            response=drawn.text,
            answer=item.answer,
            checklist=item.checklist,
            finished=drawn.finished,
            tokens=drawn.tokens or 0,
            prefilled=drawn.prefilled,
            id=item.id,
            source=item.source,
        )
        for item in items
        for drawn in log.known(item) or []
    ]


def score_drawn(composite: Composite, rollouts: Sequence[Rollout]) -> BatchScores:
    """Return what the composite says of ``rollouts``.

    Raises:
        StageError: more of them than ``rewards.max_error_share`` could not be scored.
    """
    scores = composite.score(rollouts)
    undecided, allowed = scores.decided.count(False) / len(rollouts), composite.config.max_error_share
    if undecided > allowed:
        first = scores.decided.index(False)
        why = scores.outage or "; ".join(
            f"{name}: {v[first].status} {v[first].detail}"
            for name, v in scores.verdicts.items()
            if v[first].score is None
        )
        raise StageError(
            f"{undecided:.0%} of the rollouts could not be scored (rewards.max_error_share is {allowed:.0%}); what was "
            f"drawn is kept, and the same command scores it again. First reason: {why}"
        )
    return scores
