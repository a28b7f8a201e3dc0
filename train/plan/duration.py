"""How long each stage of a run takes, as an honest range. No torch.

Where an earlier stage ran the same model in batches of the same shape, its seconds count. Elsewhere the figure follows
from the model's size: 6 N floating-point operations per trained token and 2 N per generated one (Kaplan et al. 2020,
arXiv:2001.08361, §2.1), at least the time to read the weights and the cache for every token that is generated.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adhere.records.artifact import Artifact, complete_checkpoints
from adhere.records.objects import read_object
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.config.kinds import Needs, kind_of
from adhere.train.config.named_stages import StageConfig
from adhere.train.config.schema import LauncherConfig, Recipe
from adhere.train.launch.local.stage import ranks_of
from adhere.train.launch.serve.servers import servers_of, visible_gpus
from adhere.train.plan.architecture import Architecture, read_architecture
from adhere.train.plan.history import History
from adhere.train.plan.memory import prompt_tokens, steps_per_generation, width_of
from adhere.train.plan.memory_table import NOT_KNOWN
from adhere.train.run.run import spec_of

if TYPE_CHECKING:
    from adhere.train.run.graph import PlannedStage
    from adhere.train.run.run import Run

SPREAD = (0.8, 1.5)
"""Range around a measured step: completions grow and shrink, and other jobs may share the machine."""

OWN_SPREAD = (0.9, 1.2)
"""Range around the steps that the stage itself has measured, before it stopped."""

SHORT = 0.25
"""Share of the longest completion or sequence that the lower end of a range assumes."""

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
CORE_FLOPS = (1e10, 1e11)
"""What a core of a CPU is assumed to reach, slower and faster."""

VLLM_LAYER = (1e-4, 1e-5)
"""Seconds to start a layer by a captured graph, slower and faster."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of a stage, at least and at most, and what the range rests on; ``work`` is what has to be done."""

    low: float
    high: float
    work: str
    basis: str


def device_of(launcher: LauncherConfig) -> Device:
    """Return what a stage is taken to run on: a GPU, unless it is to run on this machine, which shows none.

    A plan for a GPU that is not here says how large it is (``launcher.gpu_memory_gib``), or has a strategy that a CPU
    cannot run.
    """
    here = launcher.kind == "local"
    planned = launcher.gpu_memory_gib is not None or launcher.strategy == "fsdp2"
    auto = launcher.device == "auto" and here and not planned and not Path("/dev/kfd").exists() and not visible_gpus()
    if launcher.device != "cpu" and not auto:
        return GPU
    shared = max(1, ((os.cpu_count() or 1) if here else 2) // launcher.processes)
    cores = launcher.threads or shared
    slow, fast = (cores * flops for flops in CORE_FLOPS)
    where = f"{cores} {'core' if cores == 1 else 'cores'} of this machine" if here else "each rank"
    words = f"a CPU of {slow / 1e9:.0f} to {fast / 1e9:.0f} GFLOP/s in use and 5 to 50 GB/s ({where})"
    return Device(words, (slow, fast), (5e9, 5e10), (1e-3, 2e-4))


def time_left(run: Run, stages: Sequence[PlannedStage]) -> str:
    """Return in words how long ``stages`` take, one after another; empty where that is known of none."""
    found = [duration for _, duration in _durations(run, stages)]
    known = [duration for duration in found if isinstance(duration, Duration)]
    if not known:
        return ""
    beside = f", and {len(found) - len(known)} of unknown length" if len(known) < len(found) else ""
    return span_in_words(sum(d.low for d in known), sum(d.high for d in known)) + beside


def _durations(run: Run, stages: Sequence[PlannedStage]) -> list[tuple[PlannedStage, Duration | str]]:
    """Return each stage with how long it still takes, or why that is not known."""
    history = History(run.root)
    return [
        (
            stage,
            _left(run.artifact(stage.key), kind_of(stage.kind).steps(stage.recipe))
            or stage_duration(stage.recipe, stage.kind, history, stage.recipe.stages[stage.name]),
        )
        for stage in stages
    ]


def duration_lines(run: Run, waiting: Sequence[PlannedStage]) -> list[str]:
    """Return one row for each stage that is ``waiting`` to run, those that are alike as one, and the total."""
    rows: dict[tuple[str, str, Duration | str], list[str]] = {}
    gpus = {stage.label: gpus_of(run, stage) for stage in waiting}
    for stage, found in _durations(run, waiting):
        rows.setdefault((stage.kind, stage.recipe.model.path, found), []).append(stage.label)
    if not rows:
        return []
    title = "time     an estimate, one stage after another: from least to most, and what each rests on"
    lines, low, high, unknown = [title], 0.0, 0.0, 0
    hours = np.zeros(2)
    names = [labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more" for labels in rows.values()]
    width = max(len(name) for name in names)
    for name, ((_, _, found), labels) in zip(names, rows.items(), strict=True):
        if isinstance(found, str):
            lines.append(f"  {name:<{width}}  {found}")
            unknown += len(labels)
            continue
        each = " each" if len(labels) > 1 else ""
        work = f"{found.work}: " if found.work else ""
        lines.append(f"  {name:<{width}}  {work}{span_in_words(found.low, found.high)}{each}; {found.basis}")
        low, high = low + len(labels) * found.low, high + len(labels) * found.high
        hours += sum(gpus[label] for label in labels) * np.array([found.low, found.high]) / 3600.0
    if high:
        beside = f", and {unknown} {'stage' if unknown == 1 else 'stages'} of unknown length" if unknown else ""
        lines.append(f"  {'total':<{width}}  {span_in_words(low, high)}{beside}; waiting in a queue not counted")
    if hours.any():
        first, last = (f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in hours)
        lines.append(
            f"  {'cost':<{width}}  {first} to {last} GPU-hours{beside}, servers' GPUs counted with their stages"
        )
    elif high:
        lines.append(f"  {'cost':<{width}}  no GPU-hours")
    return lines


def gpus_of(run: Run, stage: PlannedStage) -> float:
    """Return how many GPUs a stage holds with its servers: a share of one where stages share it, 0 on a CPU."""
    recipe, kind = stage.recipe, stage.kind
    served = sum(server.gpus for server in servers_of(spec_of(run, stage)))
    away = kind == "evaluate" and recipe.evaluation.backend in ("openai", "replay")
    if device_of(recipe.launcher) is not GPU or away:
        return served
    return ranks_of(recipe.launcher, kind) / recipe.launcher.stages_per_gpu + served


def _left(artifact: Artifact, steps: int | None) -> Duration | str | None:
    """Return how long a stage that stopped still takes, by the steps that it has measured itself."""
    try:
        each = read_object(artifact.timing).get("step_median")
    except DataError:
        return None  # a damaged file only costs the estimate
    reached = max(complete_checkpoints(artifact.checkpoints), default=None)
    if not each or steps is None or reached is None:
        return None
    left = max(0, steps - reached)
    low, high = (factor * each * left + around for factor, around in zip(OWN_SPREAD, LOADING, strict=True))
    word = f"{each:.2g}" if each < 10 else f"{each:.0f}"
    return Duration(low, high, f"{left} of {steps} steps are left", f"measured by itself, {word} s a step")


def span_in_words(low: float, high: float) -> str:
    """Return a range of seconds in the unit that suits its upper end."""
    units = ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))
    size, unit = next((s, u) for s, u in units if high >= 2 * s or s == 1)
    first, last = (f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in (low / size, high / size))
    return f"{first} to {last} {unit}"


def stage_duration(
    recipe: Recipe, kind: str, history: History, stage: StageConfig | None = None
) -> Duration | str:  # fmt: skip
    """Return how long a stage takes, or why that is not known.

    Args:
        recipe: what the stage runs with.
        kind: of the stage.
        history: what earlier stages took.
        stage: the stage as the recipe names it, for a kind that says itself what it needs.
    """
    workload, earlier = kind_of(kind).workload, history.timed(kind, recipe)
    steps, items = kind_of(kind).steps(recipe), history.items(kind, recipe)
    about = ""
    if workload == "sft" and steps is None:
        # Passes over the data: exact where an earlier stage counted its items.
        about, count = ("about ", recipe.data.train_size) if items is None else ("", items)
        if count is None:
            return (
                f"{recipe.sft.epochs:g} passes over an unknown number of items; an earlier run, or data.train_size, "
                f"says"
            )
        batches = math.ceil(count / (recipe.sft.per_device_batch_size * recipe.launcher.processes))
        steps = math.ceil(recipe.sft.epochs * math.ceil(batches / recipe.sft.gradient_accumulation))
    if workload == "evaluation" and items is None:
        suite_alone = recipe.evaluation.suite != "prompts" or recipe.evaluation.path is not None
        sizes = [source.size or source.limit for source in recipe.data.evaluation]
        made = None if None in sizes else sum(filter(None, sizes))
        known = [count for count in (recipe.data.evaluation_size, made) if count is not None]
        about, items = ("about ", min(known)) if known and not suite_alone else ("", None)
        if items is None:
            return "an unknown number of items; an earlier evaluation of the same files says"

    # What an earlier stage took, by the step, by the item or as a whole.
    work = f"{about}{steps} {'step' if steps == 1 else 'steps'}" if steps is not None else ""
    work = f"{about}{items} items" if workload == "evaluation" else work
    if earlier is not None:
        if workload == "evaluation" and earlier.whole is not None and earlier.items and items is not None:
            unit, times, around, word = earlier.whole / earlier.items, items, 0.0, " an item"
        elif steps is not None and earlier.step is not None:
            unit, times, around, word = earlier.step, steps, earlier.around, " a step"
        else:
            unit, times, around, word = earlier.whole or 0.0, 1, 0.0, ""
        if unit:
            low, high = (factor * unit * times + around for factor in SPREAD)
            each = f"{unit:.2g}" if unit < 10 else f"{unit:.0f}"
            return Duration(low, high, work, f"measured, {each} s{word} in {earlier.name}")
    if workload == "evaluation" and recipe.evaluation.backend == "openai":
        return f"{work}, as fast as the endpoint answers"

    try:
        a = read_architecture(recipe.model)
    except ConfigError:
        return f"{work or NOT_KNOWN}; nothing like it was measured, and the model's config.json is not here"
    if workload is None:
        needs = Needs() if stage is None else kind_of(kind).needs(recipe, stage, a.parameters)
        if needs.seconds is None:
            return f"{f'{work}, ' if work else ''}{NOT_KNOWN}: the kind {kind} does not say"
        return Duration(*needs.seconds, work, needs.basis)

    # From operations, slower and faster: 2 N forward, 2 N for each gradient that is needed, or 2 N a generated token.
    device = device_of(recipe.launcher)
    ends = []
    for end, share in ((1, SHORT), (0, 1.0)):
        prompt = prompt_tokens(recipe, a) * share
        if workload == "rehearse":
            grpo = recipe.grpo
            responses = recipe.rehearse.groups * grpo.group_size
            batch = min(responses, max(grpo.per_device_batch_size, grpo.group_size))
            one = _generation(recipe, a, device, end, batch, prompt, grpo.max_completion_length * share, captured=False)
            ends.append(math.ceil(responses / batch) * one + LOADING[1 - end])
            continue
        if workload == "evaluation":
            sampling, batch_size = recipe.evaluation.sampling, recipe.evaluation.batch_size
            responses = (items or 0) * sampling.samples * (2 if recipe.evaluation.without_constraints else 1)
            batch, captured = min(responses, batch_size), recipe.evaluation.backend == "vllm"
            one = _generation(recipe, a, device, end, batch, prompt, sampling.max_new_tokens * share, captured)
            ends.append(math.ceil(responses / batch) * one + LOADING[1 - end])
            continue
        config = recipe.sft if workload == "sft" else recipe.grpo
        completion = recipe.grpo.max_completion_length * share
        length = recipe.sft.max_length * share if workload == "sft" else prompt + completion
        tokens = config.per_device_batch_size * config.gradient_accumulation * length
        passes = (6 if recipe.model.adapter.kind == "none" else 4) + 2 * config.gradient_checkpointing
        if kind == "distill":
            passes += 2 + 2 * bool(recipe.distill.constraint_weight)  # at least one requirement is left out
        step = max(passes * a.parameters * tokens / device.flops[end], 3 * a.layers * device.layer[end])
        if workload == "grpo":
            micro = steps_per_generation(recipe)
            per_step = config.gradient_accumulation / (micro * recipe.grpo.iterations)
            batch, captured = config.per_device_batch_size * micro, recipe.grpo.generation.startswith("vllm")
            step += per_step * _generation(recipe, a, device, end, batch, prompt, completion, captured)
        ends.append((steps or 0) * step + LOADING[1 - end])
    return Duration(ends[0], ends[1], work, f"from operations, on {device.words}")


def _generation(
    recipe: Recipe, a: Architecture, device: Device, end: int, batch: int, prompt: float, completion: float,
    captured: bool,
) -> float:  # fmt: skip
    """Return the seconds that one device generates ``batch`` completions, all equally long; ``end`` 0 is slow."""
    width = width_of(recipe)
    read = a.parameters * width + batch * (prompt + completion / 2) * 2 * a.keys * width * a.layers
    computed = 2 * a.parameters * batch
    layer = VLLM_LAYER[end] if captured else device.layer[end]
    each = max(read / device.bandwidth[end], computed / device.flops[end]) + a.layers * layer
    return 2 * a.parameters * batch * prompt / device.flops[end] + completion * each
