"""Which other rewards the recorded verdicts can answer for, and the scores where they have to be made again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from adhere.evaluation.reweight.rollouts import Rollouts
from adhere.rewards.components import ChecklistComponent
from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import ConfigError, nearest

FREE = {"weight", "gate", "gate_from"}
"""Settings of a component that come after its scores."""


def needs_requirements(original: RewardConfig, wanted: RewardConfig) -> bool:
    """Return whether a checklist of ``wanted`` joins its requirements in another way than the one that was recorded."""
    return any(
        "scoring" in _changed(original, wanted, name) for name in wanted.components if name in original.components
    )


def check_recomputable(original: RewardConfig, wanted: RewardConfig) -> None:
    """Refuse what no recomputation can answer for.

    Raises:
        ConfigError: a component that this run never scored, or a setting that its scores depend on.
    """
    for name, component in wanted.components.items():
        key = f"rewards.components.{name}"
        if name not in original.components:
            raise ConfigError(
                f"{key}: was never scored in this run{nearest(name, original.components)}; there are "
                f"{', '.join(original.components)}. Add it with weight 0 to the next run, and its scores are recorded"
            )
        changed = _changed(original, wanted, name)
        if "kind" in changed:
            raise ConfigError(f"{key}.kind: this run scored '{original.components[name].kind}' under that name")
        for setting in sorted(changed - component.rescorable):
            raise ConfigError(
                f"{key}.{setting}: the recorded scores depend on it, and there is no score under another one; only "
                f"weights, gates, aggregation and scaling come after the scores. It takes a run of its own"
            )
        if (
            isinstance(component, ChecklistComponent)
            and "scoring" in changed
            and (component.scoring not in ("mean", "all") or component.grading == "graded")
        ):
            raise ConfigError(
                f"{key}.scoring: 'mean' and 'all' can be made from the verdicts of the requirements, "
                f"'{component.scoring}'{' with graded credit' if component.grading == 'graded' else ''} cannot; it "
                f"takes a run of its own"
            )


def rescored(rollouts: Rollouts, original: RewardConfig, wanted: RewardConfig) -> Rollouts:
    """Return ``rollouts`` with the scores that ``wanted`` would have given them.

    Raises:
        ConfigError: as :func:`check_recomputable`.
    """
    check_recomputable(original, wanted)
    scores = dict(rollouts.scores)
    parts, owners = np.empty(0), np.empty(0, dtype=int)
    assert rollouts.requirements is not None or not needs_requirements(original, wanted)
    if rollouts.requirements is not None:
        lists = rollouts.requirements.combine_chunks()
        lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
        parts = lists.flatten().field("score").to_numpy(zero_copy_only=False)
        owners = np.repeat(np.arange(len(lists)), lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    for name, component in wanted.components.items():
        if _changed(original, wanted, name):
            scores[name] = component.rescored(scores[name], rollouts.tokens, parts, owners)
    return replace(rollouts, scores=scores)


def _changed(original: RewardConfig, wanted: RewardConfig, name: str) -> set[str]:
    before, after = original.components[name].model_dump(), wanted.components[name].model_dump()
    return {key for key in before.keys() | after.keys() if key not in FREE and before.get(key) != after.get(key)}
