"""Preference pairs for DPO: responses of one model, ordered by the composite reward (RLCF, arXiv 2507.18624).

Of a prompt's responses the one with the highest reward is chosen and the one with the lowest rejected. As in RLCF the
pairs are then ranked by their largest difference in a single requirement, and a share of them is kept. RLCF draws two
responses from the policy and lets a judge and programs score each requirement; here any composite reward decides, a
component other than the checklist counts as one requirement more, and prompts with equal rewards make no pair.

adhere train recipe=rlcf_dpo
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from adhere.evaluation.generation import Sampling
from adhere.records.artifact import PAIRS, Artifact
from adhere.rewards.arithmetic import ZERO, group_rewards, values_array, weights_array
from adhere.rewards.composite import Composite
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import ConfigError, StageError
from adhere.rewards.files import atomic_file
from adhere.train.model.load import load_tokenizer
from adhere.train.stages.data import load_items
from adhere.train.stages.drawing import draw_rollouts, in_training_order, score_drawn
from adhere.train.stages.setup import manifest

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec


def run_pairs(spec: StageSpec, artifact: Artifact) -> None:
    """Draw the responses, resuming from those that an earlier attempt has written; score them, and pair them."""
    started = time.time()
    recipe, config = spec.recipe, spec.recipe.pairs
    tokenizer = load_tokenizer(recipe.model, spec.model_path)
    items = in_training_order(load_items(spec, artifact, tokenizer, "train"), spec)
    if config.prompts is not None and config.prompts > len(items):
        raise ConfigError(f"pairs.prompts: {config.prompts} are asked, and there are {len(items)} training items")
    items = items[: config.prompts]
    size = config.samples
    sampling = Sampling(config.temperature, config.top_p, config.max_completion_length, size, recipe.grpo_seed)
    rollouts = draw_rollouts(spec, artifact, tokenizer, items, sampling, config.batch_size)
    composite = Composite(recipe.rewards, default_engine())
    scores = score_drawn(composite, rollouts)

    weights = recipe.rewards.weights(0, 1)
    rows = [{name: column[i] for name, column in scores.values.items()} for i in range(len(rollouts))]
    values_G_N_K = values_array(recipe.rewards, [rows[i : i + size] for i in range(0, len(rows), size)])
    rewards_G_N = group_rewards(recipe.rewards, values_G_N_K, weights_array(recipe.rewards, weights))
    pairs: list[dict[str, Any]] = []
    for group, item in enumerate(items):
        rewards_N = rewards_G_N[group]
        if np.isnan(rewards_N).all() or np.nanmax(rewards_N) - np.nanmin(rewards_N) <= ZERO:
            continue
        best, worst = group * size + int(np.nanargmax(rewards_N)), group * size + int(np.nanargmin(rewards_N))
        differences: dict[str, float] = {}
        for name, column in scores.verdicts.items():
            if weights[name] <= 0.0:
                continue
            good, bad = column[best], column[worst]
            named = zip(item.checklist, good.parts, bad.parts, strict=False)
            parts = [(f"{name}/{requirement.label}", a, b) for requirement, a, b in named]
            for key, a, b in parts or [(name, good, bad)]:
                if a.score is not None and b.score is not None:
                    differences[key] = max(a.score - b.score, differences.get(key, -1.0))
        pairs.append(
            {
                "id": item.id,
                "messages": list(item.messages),
                "chosen": rollouts[best].response,
                "rejected": rollouts[worst].response,
                "chosen_finished": rollouts[best].finished,
                "rejected_finished": rollouts[worst].finished,
                "chosen_reward": float(rewards_G_N.flat[best]),
                "rejected_reward": float(rewards_G_N.flat[worst]),
                "differences": differences,
            }
        )
    if not pairs:
        raise StageError(
            f"pairs: of {len(items)} prompts none has two responses with different rewards, so there is nothing to "
            f"prefer; raise pairs.samples or pairs.temperature, or see what `adhere rehearse` says of the reward"
        )

    # The largest difference first; a stable order, so that ties stay in the order of the prompts.
    def rank(pair: dict[str, Any]) -> tuple[float, float]:
        gap = pair["chosen_reward"] - pair["rejected_reward"]
        return (max(pair["differences"].values(), default=0.0) if config.rank_by == "requirement" else gap, gap)

    kept = sorted(pairs, key=rank, reverse=True)[: max(1, round(config.keep * len(pairs)))]
    with atomic_file(artifact.path / PAIRS) as out:
        out.writelines(json.dumps(pair, ensure_ascii=False) + "\n" for pair in kept)
    figures = {"items": len(items), "pairs": len(pairs), "kept": len(kept)}
    artifact.finish(manifest(spec, started, figures))
