"""What GRPO's trainer is given beside TRL's own arguments: the reward functions, and the levers of the recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from accelerate import PartialState

from adhere.rewards.composite import Composite
from adhere.rewards.engine import default_engine
from adhere.rewards.functions import RewardFunctions
from adhere.train.stages.callbacks import FollowLiveShare
from adhere.train.stages.curriculum import Curriculum
from adhere.train.stages.distill import Distillation
from adhere.train.stages.imitation import Imitation
from adhere.train.stages.ladder import Ladder
from adhere.train.stages.microbatches import Packing
from adhere.train.stages.monitors import Monitors, training_audit
from adhere.train.stages.relabel import Relabelling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.records.artifact import Artifact
    from adhere.train.config.schema import Recipe
    from adhere.train.config.stage import StageSpec


def reward_functions(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, eos_ids: Sequence[int]) -> RewardFunctions:
    """Return the composite of ``recipe`` as TRL's reward functions; ``eos_ids`` end a finished completion."""
    return RewardFunctions(
        Composite(recipe.rewards, default_engine()),
        eos_ids=eos_ids,
        decode=cast("Callable[[Sequence[int]], str]", partial(tokenizer.decode, skip_special_tokens=True)),
        prefilled=recipe.model.prefilled_reasoning,
    )


def levers(
    spec: StageSpec,
    artifact: Artifact,
    items: Sequence[PromptItem],
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    tokens: int,
) -> dict[str, Any]:
    """Return the arguments of `AdhereGRPOTrainer` that the recipe's keys under ``grpo`` decide.

    Args:
        spec: the stage.
        artifact: its folder, to which the first rank's monitors write.
        items: the training items; the audit during training takes its cases from them.
        tokenizer: renders the prompts of teachers and of replays.
        seed: of the curriculum's order.
        tokens: padded tokens of a micro-batch at most.
    """
    config = spec.recipe.grpo
    monitors = None
    if config.monitors.enabled:
        writes = PartialState().is_main_process
        monitors = Monitors(config.monitors, artifact, writes=writes, rehearsed=spec.rehearsed)
    curriculum = None
    if config.curriculum.every is not None:
        curriculum = Curriculum(config.curriculum, items, seed=seed, group_size=config.group_size)
    return {
        "max_clipped": config.max_clipped_steps,
        "monitors": monitors,
        "audit": training_audit(items, spec.recipe),
        "credit": config.token_credit if config.token_credit.strength > 0.0 else None,
        "distillation": Distillation(spec, items, tokenizer) if spec.kind == "distill" else None,
        "packing": None if config.exact_trl else Packing(tokens, config.skip_zero_advantage),
        "follow": FollowLiveShare() if config.learning_rate_follows == "live_share" else None,
        "curriculum": curriculum,
        "ladder": None if config.ladder.start is None else Ladder(config.ladder),
        "admission": config.admission,
        "imitation": Imitation(config.imitation, items, tokenizer) if config.imitation.weight > 0.0 else None,
        "relabel": Relabelling(config.relabel, items, tokenizer) if config.relabel.advantage > 0.0 else None,
        "kl_follows": config.kl_follows == "live_share",
        "exact_trl": config.exact_trl,
        "refills": (config.refill_rounds, config.refill_resolution) if config.refill else None,
    }
