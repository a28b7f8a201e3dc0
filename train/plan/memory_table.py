"""The memory estimate as lines of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adhere.rewards.errors import ConfigError
from adhere.train.config.schema import Recipe
from adhere.train.plan.architecture import Architecture, read_architecture
from adhere.train.plan.memory import GIB, StageMemory, stage_memory
from adhere.train.plan.suggestions import fitting
from adhere.train.run.graph import PlannedStage

PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "reference",
    "activations",
    "logits",
    "cache",
    "casts",
    "vLLM",
    "buffers",
    "outside",
)
TIGHT = 0.9
"""Share of the device's memory above which the estimate's own error can decide."""


NOTHING_FITS = "no strategy, smaller batch or adapter was found to fit; take more ranks, or a shorter length"


ESTIMATED = ("sft", "grpo", "evaluate")
"""Kinds of stages whose memory is known from the recipe."""


def memory_lines(stages: Sequence[PlannedStage]) -> list[str]:
    """Return the table of all ``stages``, one row a stage that differs, and what there is to warn of."""
    models = {stage.recipe.model.path: stage.recipe for stage in stages}
    try:
        sizes = {path: read_architecture(recipe.model) for path, recipe in models.items()}
    except ConfigError as error:
        return [f"memory   no estimate: {error}"]
    rows: dict[str, StageMemory] = {}
    of: dict[str, tuple[Recipe, str]] = {}
    unknown: dict[str, None] = {}
    for stage in stages:
        recipe, kind = stage.recipe, stage.kind
        if kind not in ESTIMATED:
            unknown[f"  {stage.name}: no estimate for stages of kind {kind}"] = None
            continue
        found = stage_memory(recipe, kind, sizes[recipe.model.path])
        if found not in rows.values():
            label = stage.name if stage.name not in rows else stage.label
            rows[label], of[label] = found, (recipe, kind)
    first = stages[0].recipe
    doubtful = [
        f"warning: {label} {text}"
        for label, (recipe, kind) in of.items()
        if (text := _tight(rows[label], recipe, kind, sizes[recipe.model.path]))
    ]
    return [_title(first, sizes[first.model.path]), *_table(rows), *_notes(rows), *unknown, *doubtful]


def _title(recipe: Recipe, a: Architecture) -> str:
    launcher = recipe.launcher
    ranks = f"{launcher.processes} {'rank' if launcher.processes == 1 else 'ranks'}"
    size = f"{a.parameters / 1e6:,.0f} M weights"
    return f"memory   {size}; GiB per device at the peak, estimated ({launcher.strategy}, {ranks})"


def _table(rows: Mapping[str, StageMemory]) -> list[str]:
    shown = [part for part in PARTS if any(row.peak.parts.get(part, 0.0) > 0.0 for row in rows.values())]
    if not rows:
        return []
    cells = [["", *shown, "peak", "when"]]
    for label, row in rows.items():
        figures = [_gib(row.peak.parts.get(part, 0.0)) for part in shown]
        cells.append([label, *figures, _gib(row.peak.total), f"{row.peak.when}; most is {row.dominant}"])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return ["  " + "  ".join(_aligned(row, widths)).rstrip() for row in cells]


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    inner = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
    return [row[0].ljust(widths[0]), *inner, row[-1]]


def _gib(size: float) -> str:
    if size == 0.0:
        return "-"
    return f"{size / GIB:.1f}" if size >= 0.05 * GIB else f"{size / GIB:.2f}"


def _notes(rows: Mapping[str, StageMemory]) -> list[str]:
    lines = [f"  {note}" for note in dict.fromkeys(note for row in rows.values() for note in row.assumptions)]
    host = max((row.host for row in rows.values()), default=0.0)
    if host:
        lines.append(f"  and {host / GIB:.1f} GiB of host memory per rank, offloaded")
    return lines


def _tight(row: StageMemory, recipe: Recipe, kind: str, a: Architecture) -> str | None:
    """Return by how much a stage exceeds its device and what would make it fit, or nothing where it fits."""
    limit, need = recipe.launcher.gpu_memory_gib, row.peak.total / GIB
    if limit is None or need <= TIGHT * limit:
        return None
    how = "more than" if need > limit else "close to"
    ways = fitting(recipe, kind, a, TIGHT * limit)
    return (
        f"needs about {need:.1f} GiB per device, {how} the {limit:g} GiB there are; most is {row.dominant}; "
        f"{'it would fit with ' + ', or '.join(ways) if ways else NOTHING_FITS}"
    )
