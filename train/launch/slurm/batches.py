"""How the pending stages of a run become Slurm jobs: which share an array, and what each waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass

from adhere.train.run.graph import PlannedStage


@dataclass(frozen=True, slots=True)
class Batch:
    """Stages that are submitted together: one job, or an array with one task a stage.

    ``after`` are the keys of pending stages that all members start from. ``along`` is instead the index of an earlier
    batch whose task I is what member I starts from.
    """

    stages: tuple[PlannedStage, ...]
    after: tuple[str, ...] = ()
    along: int | None = None

    @property
    def kind(self) -> str:
        """Kind of all its stages."""
        return self.stages[0].kind


def plan_batches(
    stages: Sequence[PlannedStage], queued: Collection[str], shape: Callable[[PlannedStage], Hashable]
) -> list[Batch]:
    """Group ``stages`` (in running order, none of them done or queued) into as few submissions as there can be.

    Stages of one kind and one ``shape`` (the resources and launch line of their jobs) that wait for the same stages
    are an array. Where each task of an array has exactly one stage of a kind that waits for it alone, these are an
    array too, task by task. ``queued`` are the keys of stages that are in Slurm's queue already.
    """
    waiting = {stage.key for stage in stages}
    batches: list[Batch] = []
    children: dict[str, list[PlannedStage]] = defaultdict(list)
    for stage in stages:
        for key in stage.inputs.values():
            children[key].append(stage)
    placed: set[str] = set()
    for stage in stages:
        if stage.key in placed:
            continue
        after = _after(stage, waiting, queued)
        batch = _along(stage, after, batches, children, shape, waiting, queued) if len(after) == 1 else None
        if batch is None:
            alike = [
                s for s in stages
                if s.kind == stage.kind and _after(s, waiting, queued) == after and shape(s) == shape(stage)
            ]  # fmt: skip
            batch = Batch(tuple(alike), after)
        batches.append(batch)
        placed |= {s.key for s in batch.stages}
    return batches


def _after(stage: PlannedStage, waiting: Collection[str], queued: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted({key for key in stage.inputs.values() if key in waiting or key in queued}))


def _along(
    stage: PlannedStage,
    after: tuple[str, ...],
    batches: Sequence[Batch],
    children: dict[str, list[PlannedStage]],
    shape: Callable[[PlannedStage], Hashable],
    waiting: Collection[str],
    queued: Collection[str],
) -> Batch | None:
    """Return the array that follows another one task by task and holds ``stage``, where there is one."""
    for index, batch in enumerate(batches):
        if len(batch.stages) > 1 and after[0] in (s.key for s in batch.stages):
            heirs = [
                [
                    s
                    for s in children[parent.key]
                    if s.kind == stage.kind and _after(s, waiting, queued) == (parent.key,)
                ]
                for parent in batch.stages
            ]
            if all(len(found) == 1 and shape(found[0]) == shape(stage) for found in heirs):
                return Batch(tuple(found[0] for found in heirs), along=index)
    return None
