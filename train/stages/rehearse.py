"""A rehearsal: groups drawn from the policy that GRPO would start from, on its prompts, scored and not trained on.

adhere rehearse recipe=quickstart
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from adhere.evaluation.generation import Sampling
from adhere.evaluation.rehearsal import alternatives, judge_rehearsal, rehearsal_figures
from adhere.evaluation.reweight import read_rollouts
from adhere.prompts.attach import Sampler
from adhere.records.artifact import REHEARSAL, Artifact
from adhere.records.tables import rollout_columns, write_rollouts
from adhere.rewards.arithmetic import signal, values_array, weights_array
from adhere.rewards.composite import Composite, rollout_rows
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.files import write_json
from adhere.train.config.kinds import keeps_trls_batches
from adhere.train.model.load import load_tokenizer
from adhere.train.stages.data import load_items
from adhere.train.stages.drawing import draw_rollouts, in_training_order, score_drawn
from adhere.train.stages.ladder import rungs
from adhere.train.stages.setup import manifest

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec


def run_rehearse(spec: StageSpec, artifact: Artifact) -> None:
    """Draw the groups, resuming from those that an earlier attempt has written; score them, and say what they teach."""
    started = time.time()
    recipe, grpo = spec.recipe, spec.recipe.grpo
    tokenizer = load_tokenizer(recipe.model, spec.model_path)
    items = load_items(spec, artifact, tokenizer, "train", with_targets=grpo.imitation.weight > 0.0)
    if grpo.ladder.start is not None:  # as training begins: on the lowest rung, unless all are climbed at once
        climbed = grpo.ladder.rise == "schedule" and grpo.ladder.until == 0.0
        items = [rungs(item, grpo.ladder)[-1 if climbed else 0] for item in items]
    groups, prompts = recipe.rehearse.groups, recipe.completions_per_step // grpo.group_size
    if groups > len(items):
        raise ConfigError(
            f"rehearse.groups: {groups} groups need as many prompts, and there are {len(items)} training items; lower "
            f"it, or add data"
        )
    chosen = in_training_order(items, spec)[:groups]
    sampling = Sampling(grpo.temperature, grpo.top_p, grpo.max_completion_length, grpo.group_size, recipe.grpo_seed)
    rollouts = draw_rollouts(spec, artifact, tokenizer, chosen, sampling, grpo.per_device_batch_size)
    composite = Composite(recipe.rewards, default_engine())
    composite.at(0, grpo.max_steps)
    scores = score_drawn(composite, rollouts)
    rows = rollout_rows(composite, rollouts, scores)

    # One file for each step that these groups would fill, as training writes them.
    size, kinds = grpo.group_size, defaultdict[str, list[tuple[int, list[float | None]]]](list)
    for step, start in enumerate(range(0, groups, prompts)):
        step_rows = rows[start * size : (start + prompts) * size]
        by_group = [[row["values"] for row in step_rows[i : i + size]] for i in range(0, len(step_rows), size)]
        weights_1_K = weights_array(recipe.rewards, recipe.rewards.weights(step, grpo.max_steps))
        advantages = signal(recipe.rewards, values_array(recipe.rewards, by_group), weights_1_K).advantages
        columns = rollout_columns(step_rows, advantages.ravel().tolist(), step=step, generation=step, group_size=size)
        write_rollouts(artifact.rollouts, step, columns)
    for group, item in enumerate(chosen):
        members = rows[group * size : (group + 1) * size]
        for place, requirement in enumerate(item.checklist):
            met = [m["requirements"][place]["score"] if place < len(m["requirements"]) else None for m in members]
            kinds[requirement.label].append((group, met))

    found = rehearsal_figures(
        read_rollouts(artifact.rollouts, composite.names, size),
        recipe.rewards,
        total=grpo.max_steps,
        prompts=prompts,
        accumulation=grpo.gradient_accumulation,
        kinds=kinds,
        finished=np.array([rollout.finished for rollout in rollouts]).reshape(groups, size),
    )
    others = alternatives(found)
    constraints = recipe.data.constraints
    # What planning would refuse beside the stage's other settings is not suggested.
    alone = grpo.relabel.advantage == 0.0 and grpo.imitation.weight == 0.0
    packs = not grpo.exact_trl and not keeps_trls_batches(grpo)
    follow = ["grpo.learning_rate_follows=live_share"] if alone and grpo.learning_rate_follows == "schedule" else []
    if grpo.kl_coefficient > 0.0 and grpo.kl_follows == "fixed" and packs:
        follow.append("grpo.kl_follows=live_share")
    verdict = judge_rehearsal(
        found,
        others,
        max_completion_length=grpo.max_completion_length,
        ids=None if constraints is None else Sampler(constraints).ids(),
        wanted=recipe.rehearse.live_groups,
        follow=follow,
        compliance=recipe.data.targets.compliance if "sft" in recipe.kinds else None,
        ordered=grpo.curriculum.every is not None
        or grpo.ladder.start is not None
        or grpo.exact_trl
        or grpo.generation != "transformers",
    )
    result: dict[str, Any] = {
        **found.to_dict(),
        "alternatives": [other.to_dict() for other in others],
        "verdict": verdict.to_dict(),
    }
    write_json(artifact.path / REHEARSAL, result)
    artifact.finish(manifest(spec, started, {"items": len(items), "rehearsal": verdict.sentence}))
