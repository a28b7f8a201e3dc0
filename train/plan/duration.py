"""How long each stage of a run takes, as an honest range. No torch.

Where an earlier stage ran the same model in batches of the same shape, its seconds count. Elsewhere the figure follows
from the model's size: 6 N floating-point operations per trained token and 2 N per generated one (Kaplan et al. 2020,
arXiv:2001.08361, §2.1), at least the time to read the weights and the cache for every token that is generated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adhere.rewards.errors import ConfigError
from adhere.train.config.schema import Recipe
from adhere.train.plan.architecture import Architecture, read_architecture
from adhere.train.plan.history import Earlier, History
from adhere.train.plan.memory import prompt_tokens, steps_per_generation, width_of
from adhere.train.plan.memory_table import ESTIMATED
from adhere.train.run.graph import order

if TYPE_CHECKING:
    from adhere.train.run.run import Run

SPREAD = (0.8, 1.5)
"""Range around a measured step: completions grow and shrink, and the machine is not always ours alone."""

SHORT = 0.25
"""Share of the longest completion or sequence that the lower end of a range reckons with."""

LOADING = (20.0, 120.0)
"""Seconds to start a stage, load the model and write the weights, where none were measured."""


@dataclass(frozen=True, slots=True)
class Device:
    """What a device is assumed to reach, slower and faster: of arithmetic, memory and a layer's start."""

    words: str
    flops: tuple[float, float]
    bandwidth: tuple[float, float]
    layer: tuple[float, float]


GPU = Device("a GPU of 60 to 350 TFLOP/s in use and 1 to 3.3 TB/s", (60e12, 350e12), (1e12, 3.3e12), (5e-4, 1e-4))
CPU = Device("a CPU of 20 to 200 GFLOP/s in use and 5 to 50 GB/s per rank", (2e10, 2e11), (5e9, 5e10), (1e-3, 2e-4))
VLLM_LAYER = (1e-4, 1e-5)
"""Seconds to start a layer by a captured graph, slower and faster."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of a stage, at least and at most, and what the range rests on; ``work`` is what has to be done."""

    low: float
    high: float
    work: str
    basis: str


def duration_lines(run: Run) -> list[str]:
    """Return one row for each stage that is still to run, those that are alike as one, and the total."""
    history = History(run.root)
    rows: dict[tuple[str, str, Duration | str], list[str]] = {}
    for stage in order(run.graph):
        if not run.artifact(stage.key).done:
            found = stage_duration(stage.recipe, stage.kind, history)
            rows.setdefault((stage.kind, stage.recipe.model.path, found), []).append(stage.label)
    if not rows:
        return []
    lines, low, high, unknown = ["time     estimated, one stage after another"], 0.0, 0.0, 0
    width = max(len(_name(labels)) for labels in rows.values())
    for (_, _, found), labels in rows.items():
        if isinstance(found, str):
            lines.append(f"  {_name(labels):<{width}}  {found}")
            unknown += len(labels)
            continue
        each = " each" if len(labels) > 1 else ""
        span = f"{span_in_words(found.low, found.high)}{each}"
        lines.append(f"  {_name(labels):<{width}}  {found.work}: {span}; {found.basis}")
        low, high = low + len(labels) * found.low, high + len(labels) * found.high
    if high:
        beside = f", and {unknown} {'stage' if unknown == 1 else 'stages'} of unknown length" if unknown else ""
        lines.append(f"  {'total':<{width}}  {span_in_words(low, high)}{beside}; waiting in a queue not counted")
    return lines


def _name(labels: list[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def span_in_words(low: float, high: float) -> str:
    """Return a range of seconds in the unit that suits its upper end."""
    size, unit = next(
        (s, u) for s, u in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")) if high >= 2 * s or s == 1
    )
    return f"{_two_digits(low / size)} to {_two_digits(high / size)} {unit}"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def stage_duration(recipe: Recipe, kind: str, history: History) -> Duration | str:
    """Return how long a stage takes, or why that is not known."""
    if kind not in ESTIMATED:
        return f"no estimate for stages of kind {kind}"
    earlier = history.timed(kind, recipe)
    if kind == "evaluate":
        return _evaluation(recipe, history, earlier)
    steps, about = training_steps(recipe, kind, history)
    if steps is None:
        return f"{recipe.sft.epochs:g} passes over an unknown number of items; an earlier run, or data.train_size, says"
    work = f"{about}{steps} {'step' if steps == 1 else 'steps'}"
    if earlier is not None and earlier.step is not None:
        around = earlier.around
        low, high = (factor * earlier.step * steps + around for factor in SPREAD)
        return Duration(low, high, work, f"measured, {_seconds(earlier.step)} a step in {earlier.name}")
    try:
        a = read_architecture(recipe.model)
    except ConfigError:
        return f"{work}; nothing like it was measured, and the model's config.json is not here"
    device = CPU if recipe.launcher.device == "cpu" else GPU
    high, low = (steps * _step(recipe, kind, a, device, slow) + LOADING[slow] for slow in (True, False))
    return Duration(low, high, work, f"from operations, on {device.words}")


def training_steps(recipe: Recipe, kind: str, history: History) -> tuple[int | None, str]:
    """Return a stage's optimizer steps and ``about `` where they are not exact; ``None`` where nothing says them."""
    if kind == "grpo":
        return recipe.grpo.max_steps, ""
    sft = recipe.sft
    if sft.max_steps > 0:
        return sft.max_steps, ""
    known = history.items("sft", recipe)
    items = known if known is not None else recipe.data.train_size
    if items is None:
        return None, ""
    batches = math.ceil(items / (sft.per_device_batch_size * recipe.launcher.processes))
    steps = math.ceil(sft.epochs * math.ceil(batches / sft.gradient_accumulation))
    return steps, "" if known is not None else "about "


def _step(recipe: Recipe, kind: str, a: Architecture, device: Device, slow: bool) -> float:
    """Return the seconds of an optimizer step at one end of the range."""
    share = 1.0 if slow else SHORT
    if kind == "sft":
        config, tokens = recipe.sft, recipe.sft.max_length * share
        return _training(
            recipe, kind, a, device, slow, config.per_device_batch_size * tokens * config.gradient_accumulation
        )
    grpo = recipe.grpo
    prompt, completion = prompt_tokens(recipe, a) * share, grpo.max_completion_length * share
    sequences = grpo.per_device_batch_size * grpo.gradient_accumulation
    trained = _training(recipe, kind, a, device, slow, sequences * (prompt + completion))
    micro = steps_per_generation(recipe)
    batch = grpo.per_device_batch_size * micro
    per_step = grpo.gradient_accumulation / (micro * int(grpo.trl.get("num_iterations") or 1))
    captured = grpo.generation.startswith("vllm")
    return trained + per_step * _generation(recipe, a, device, slow, batch, prompt, completion, captured)


def _training(recipe: Recipe, kind: str, a: Architecture, device: Device, slow: bool, tokens: float) -> float:
    """Return the seconds that one device trains on ``tokens``: 2 N forward, 2 N for each gradient that is needed."""
    config = recipe.sft if kind == "sft" else recipe.grpo
    passes = (6 if recipe.model.adapter.kind == "none" else 4) + 2 * config.gradient_checkpointing
    rate = device.flops[0 if slow else 1]
    return max(passes * a.parameters * tokens / rate, 3 * a.layers * device.layer[0 if slow else 1])


def _generation(
    recipe: Recipe, a: Architecture, device: Device, slow: bool, batch: int, prompt: float, completion: float,
    captured: bool,
) -> float:  # fmt: skip
    """Return the seconds that one device generates ``batch`` completions, all of them equally long."""
    end, width = (0 if slow else 1), width_of(recipe)
    read = a.parameters * width + batch * (prompt + completion / 2) * 2 * a.keys * width * a.layers
    computed = 2 * a.parameters * batch
    layer = VLLM_LAYER[end] if captured else device.layer[end]
    each = max(read / device.bandwidth[end], computed / device.flops[end]) + a.layers * layer
    return 2 * a.parameters * batch * prompt / device.flops[end] + completion * each


def _evaluation(recipe: Recipe, history: History, earlier: Earlier | None) -> Duration | str:
    config = recipe.evaluation
    items = history.items("evaluate", recipe) or (recipe.data.evaluation_size if config.path is None else None)
    if items is None:
        return "an unknown number of items; an earlier evaluation of the same files says"
    work = f"{items} items"
    if earlier is not None and earlier.whole is not None and earlier.items:
        each = earlier.whole / earlier.items
        low, high = (factor * each * items for factor in SPREAD)
        return Duration(low, high, work, f"measured, {_seconds(each)} an item in {earlier.name}")
    if config.backend == "openai":
        return f"{work}, as fast as the endpoint answers"
    try:
        a = read_architecture(recipe.model)
    except ConfigError:
        return f"{work}; nothing like it was measured, and the model's config.json is not here"
    device, sampling = CPU if recipe.launcher.device == "cpu" else GPU, config.sampling
    responses = items * sampling.samples * (2 if config.without_constraints else 1)
    captured = config.backend == "vllm"
    batch = min(responses, config.batch_size)
    ends = []
    for slow in (False, True):
        share = 1.0 if slow else SHORT
        prompt, completion = prompt_tokens(recipe, a) * share, sampling.max_new_tokens * share
        one = _generation(recipe, a, device, slow, batch, prompt, completion, captured)
        ends.append(math.ceil(responses / batch) * one + LOADING[slow])
    return Duration(ends[0], ends[1], work, f"from operations, on {device.words}")


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
