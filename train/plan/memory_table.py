"""The memory estimate as lines of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from adhere.rewards.errors import ConfigError
from adhere.train.config.kinds import Needs, kind_of
from adhere.train.plan.architecture import read_architecture
from adhere.train.plan.memory import GIB, StageMemory, stage_memory
from adhere.train.plan.suggestions import fitting
from adhere.train.run.graph import PlannedStage

PARTS = (
    "weights", "gradients", "optimizer", "reference", "teachers", "activations", "logits", "cache", "casts", "gathered",
    "vLLM", "buffers", "outside",
)  # fmt: skip
TIGHT = 0.9
"""Share of the device's memory above which the estimate's own error can decide."""

NOT_KNOWN = "not known"
NOTHING_FITS = "no strategy, smaller batch or adapter was found to fit; take more ranks, or a shorter length"


def memory_lines(stages: Sequence[PlannedStage]) -> list[str]:
    """Return the table of all ``stages``, one row a stage that differs, and what there is to warn of."""
    models = {stage.recipe.model.path: stage.recipe for stage in stages}
    try:
        sizes = {path: read_architecture(recipe.model) for path, recipe in models.items()}
    except ConfigError as error:
        return [f"memory   no estimate: {error}"]
    rows: dict[str, tuple[PlannedStage, StageMemory | Needs]] = {}
    for stage in stages:
        kind, size = kind_of(stage.kind), sizes[stage.recipe.model.path]
        found: StageMemory | Needs
        if kind.workload is None:
            found = kind.needs(stage.recipe, stage.recipe.stages[stage.name], size.parameters)
        else:
            found = stage_memory(stage.recipe, stage.kind, size)
        if all(found != known or (stage.kind != s.kind and kind.workload is None) for s, known in rows.values()):
            rows[stage.name if stage.name not in rows else stage.label] = stage, found

    estimates = {label: found for label, (_, found) in rows.items() if isinstance(found, StageMemory)}
    shown = [part for part in PARTS if any(row.peak.parts.get(part, 0.0) > 0.0 for row in estimates.values())]
    cells = [["", *shown, "peak", "when"]]
    for label, (stage, found) in rows.items():
        if isinstance(found, StageMemory):
            figures = [_gib(found.peak.parts.get(part, 0.0)) for part in shown]
            cells.append([label, *figures, _gib(found.peak.total), f"{found.peak.when}; most is {found.dominant}"])
        else:
            peak = NOT_KNOWN if found.device_gib is None else _gib(found.device_gib * GIB)
            host = NOT_KNOWN if found.host_gib is None else f"{_gib(found.host_gib * GIB)} GiB"
            known = (found.device_gib, found.host_gib) != (None, None)
            when = f"host memory {host}; {found.basis}" if known else f"the kind {stage.kind} does not say"
            cells.append([label, *("-" for _ in shown), peak, when])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    table = []
    for first, *inner, last in cells:
        aligned = [cell.rjust(width) for cell, width in zip(inner, widths[1:-1], strict=True)]
        table.append("  " + "  ".join([first.ljust(widths[0]), *aligned, last]).rstrip())

    notes = [f"  {note}" for note in dict.fromkeys(note for row in estimates.values() for note in row.assumptions)]
    if offloaded := max((row.host for row in estimates.values()), default=0.0):
        notes.append(f"  and {offloaded / GIB:.1f} GiB of host memory per rank, offloaded")
    for label, (stage, found) in rows.items():
        limit = stage.recipe.launcher.gpu_memory_gib
        sharing = stage.recipe.launcher.stages_per_gpu
        need = sharing * (found.peak.total / GIB if isinstance(found, StageMemory) else found.device_gib or 0.0)
        if limit is None or need <= TIGHT * limit:
            continue
        several = f" as {sharing} stages share it" if sharing > 1 else ""
        text = f"{label} needs about {need:.1f} GiB per device{several}, "
        text += f"{'more than' if need > limit else 'close to'} the {limit:g} GiB there are"
        if isinstance(found, StageMemory):
            ways = fitting(stage.recipe, stage.kind, sizes[stage.recipe.model.path], TIGHT * limit / sharing)
            text += f"; most is {found.dominant}; "
            text += "it would fit with " + ", or ".join(ways) if ways else NOTHING_FITS
        notes.append(f"warning: {text}")
    recipe = stages[0].recipe
    ranks = f"{recipe.launcher.processes} {'rank' if recipe.launcher.processes == 1 else 'ranks'}"
    title = (
        f"memory   {sizes[recipe.model.path].parameters / 1e6:,.0f} M weights; GiB per device at the peak, estimated "
        f"({recipe.launcher.strategy}, {ranks})"
    )
    return [title, *table, *notes]


def _gib(size: float) -> str:
    if size == 0.0:
        return "-"
    return f"{size / GIB:.1f}" if size >= 0.05 * GIB else f"{size / GIB:.2f}"
