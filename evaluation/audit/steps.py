"""Which weights a training pays by: an audit looks at the settings of several steps, not of one."""

from __future__ import annotations

from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import ConfigError
from adhere.rewards.schedules import WeightSchedule

MOST_SETTINGS = 16
"""Distinct settings of the weights that one audit looks at."""

Settings = dict[int, dict[str, float]]
"""Weights by component, by the first optimizer step that is audited with them."""


def weight_settings(config: RewardConfig, total: int, step: int | None = None) -> Settings:
    """Return the weights at the first and the last of ``total`` steps and where a schedule changes between them.

    Of more than ``MOST_SETTINGS`` places, evenly spread ones are taken. ``step`` asks for that one only. Without a
    schedule the result is one setting.

    Raises:
        ConfigError: the training has no such step, or every weight is 0 at the only step that was asked for.
    """
    if step is not None and step >= total:
        raise ConfigError(f"step: {step} is past the training; grpo.max_steps is {total}, give 0 to {total - 1}")
    places = [step] if step is not None else _places(config, total)
    settings: Settings = {}
    for place in places:
        weights = config.weights(place, total)
        if weights not in settings.values():
            settings[place] = weights
    if not any(weight > 0.0 for weights in settings.values() for weight in weights.values()):
        raise ConfigError(
            f"audit: every weight is 0 at step {', '.join(map(str, settings))}, so nothing is paid there; "
            f"name another step, step=N, or raise a weight"
        )
    return settings


def _places(config: RewardConfig, total: int) -> list[int]:
    if not config.scheduled:
        return [0]
    schedules = [c.weight for c in config.components.values() if isinstance(c.weight, WeightSchedule)]
    stepped = [schedule for schedule in schedules if schedule.schedule == "step"]
    ramps = [schedule.last_place(total) for schedule in schedules if schedule.schedule == "linear"]
    jumps = [at for at in range(1, total) if any(s.at(at, total) != s.at(at - 1, total) for s in stepped)]
    before = [at - 1 for at in jumps] if ramps else []
    places = sorted({0, *(at for at in ramps if at < total), *before, *jumps, max(total - 1, 0)})
    if len(places) <= MOST_SETTINGS:
        return places
    return [places[round(i * (len(places) - 1) / (MOST_SETTINGS - 1))] for i in range(MOST_SETTINGS)]
