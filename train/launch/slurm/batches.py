"""How the pending stages of a run become Slurm jobs: which share an array, and what each waits for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass

from adhere.train.run.graph import PlannedStage


@dataclass(frozen=True, slots=True)
class Batch:
    """Stages that are submitted together: one job, or an array with one task a stage.

    ``after`` are the keys of pending stages that all members wait for. ``along`` are the indices of earlier batches of
    as many stages: member I also waits for task I of each.
    """

    stages: tuple[PlannedStage, ...]
    after: tuple[str, ...] = ()
    along: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """Kind of all its stages."""
        return self.stages[0].kind


def plan_batches(
    stages: Sequence[PlannedStage],
    queued: Collection[str],
    shape: Callable[[PlannedStage], Hashable],
    most: int | None = None,
) -> list[Batch]:
    """Group ``stages`` into as few submissions as possible, each after those that it waits for.

    Stages of one kind and one shape that wait for the same stages are an array. Where each task of an array (or of
    several arrays of one length) has exactly one stage of a kind that waits for it, these are an array too.

    Args:
        stages: in running order; none of them is done or queued.
        queued: keys of the stages that are in Slurm's queue already.
        shape: the resources and the launch line of a stage's job, to be compared.
        most: tasks that the cluster allows an array; more stages are several arrays. ``None`` is any number.
    """
    pending = {stage.key for stage in stages} | set(queued)
    waits = {stage.key: frozenset(stage.inputs.values()) & pending for stage in stages}
    shapes = {stage.key: (stage.kind, shape(stage)) for stage in stages}
    batches: list[Batch] = []
    placed: set[str] = set()
    for stage in stages:
        if stage.key in placed:
            continue
        after, inputs = waits[stage.key], dict.fromkeys(stage.inputs.values())
        # The arrays with one task that the stage waits for, and what it waits for besides.
        arrays = {i: [s.key for s in batch.stages] for i, batch in enumerate(batches) if len(batch.stages) > 1}
        arrays = {i: keys for i, keys in arrays.items() if len(after & set(keys)) == 1}
        shared = after.difference(*arrays.values())
        rows = [shared | set(row) for row in zip(*arrays.values(), strict=False)]
        heirs = [[s for s in stages if s.kind == stage.kind and waits[s.key] == row] for row in rows]
        if (
            after in rows
            and len({len(keys) for keys in arrays.values()}) == 1
            and all([shapes[s.key] for s in found] == [shapes[stage.key]] for found in heirs)
        ):
            batch = Batch(tuple(found[0] for found in heirs), tuple(k for k in inputs if k in shared), tuple(arrays))
        else:
            alike = [s for s in stages if shapes[s.key] == shapes[stage.key] and waits[s.key] == after]
            alike = [s for s in alike if s.key not in placed][:most]
            batch = Batch(tuple(alike), tuple(k for k in inputs if k in after))
        batches.append(batch)
        placed |= {s.key for s in batch.stages}
    return batches
