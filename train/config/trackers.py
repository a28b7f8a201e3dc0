"""Trackers: where the figures and rollouts of training go besides the plain files. No torch.

``wandb`` and ``trackio`` are declared here with the interface that a user's own tracker has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from adhere.records.artifact import Artifact
from adhere.rewards.errors import ConfigError
from adhere.rewards.registry import Registry

if TYPE_CHECKING:
    from adhere.train.config.schema import TrackingConfig
    from adhere.train.config.stage import StageSpec


class Tracker:
    """One place to log to. Subclass it, define ``log`` or ``rollouts``, and decorate it: ``@tracker("name")``.

    An object is made for every attempt at a training stage, on its first rank. What one of its methods raises ends the
    stage. An attempt that resumes logs the steps after its checkpoint again.
    """

    report_to: ClassVar[str | None] = None
    """The name of the transformers integration that logs the figures; ``log`` is not called where there is one."""

    def start(self, spec: StageSpec, artifact: Artifact) -> None:
        """Begin, before the first step. ``spec.key`` identifies the stage over all its attempts."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of optimizer step ``step``, those of ``metrics.jsonl``."""

    def rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the first rollouts of a generation: prompt, response, scores and advantage of each."""

    def finish(self, exit_code: int) -> None:
        """End: 0 the stage is done, 85 it stopped and will be resumed, anything else it failed."""


def _problem(name: str, thing: type[Tracker]) -> str | None:
    if not (isinstance(thing, type) and issubclass(thing, Tracker)):
        return "is not a subclass of adhere.train.config.trackers.Tracker"
    if thing.report_to is None and thing.log is Tracker.log and thing.rollouts is Tracker.rollouts:
        return "defines neither log(self, step, figures) nor rollouts(self, step, rows)"
    return None


TRACKERS: Registry[type[Tracker]] = Registry("tracker", _problem)
"""The trackers, ours and those that ``tracking.trackers`` can name."""

tracker = TRACKERS.register


@tracker("wandb")
class Wandb(Tracker):
    """Weights & Biases. A stage keeps one id over all its attempts: the beginning of its key."""

    report_to = "wandb"

    def __init__(self) -> None:
        self._table: Any = None

    def start(self, spec: StageSpec, artifact: Artifact) -> None:
        import wandb

        wandb.init(
            project=spec.recipe.tracking.project,
            name=spec.label,
            group=spec.recipe.name,
            job_type=spec.kind,
            id=spec.key[:16],
            resume="allow",
            dir=str(artifact.path),
            mode=wandb_mode(spec.recipe.tracking),  # type: ignore[arg-type]
            config=spec.recipe.model_dump(mode="json"),
        )

    def rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the rows to one incremental table: TRL's own is replaced at every step."""
        import wandb

        if wandb.run is None or not rows:
            return
        if self._table is None:
            self._table = wandb.Table(columns=[*rows[0]], log_mode="INCREMENTAL")
        for row in rows:
            self._table.add_data(*row.values())
        wandb.run.log({"rollouts": self._table}, commit=False)

    def finish(self, exit_code: int) -> None:
        import wandb

        wandb.finish(exit_code=exit_code)


@tracker("trackio")
class Trackio(Tracker):
    """trackio. transformers starts it and continues the run of the same name, which holds the stage's key."""

    report_to = "trackio"

    def rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        import pandas
        import trackio

        trackio.log({"rollouts": trackio.Table(dataframe=pandas.DataFrame([dict(row) for row in rows]))})


def wandb_mode(tracking: TrackingConfig) -> str:
    """Return ``off``, ``offline`` or ``online``.

    Raises:
        ConfigError: W&B is to be online and has no key.
    """
    key = os.environ.get("WANDB_API_KEY")
    if tracking.wandb == "online" and not key:
        raise ConfigError("tracking.wandb: online needs WANDB_API_KEY in the environment; use offline or off")
    return ("online" if key else "off") if tracking.wandb == "auto" else tracking.wandb


def chosen(tracking: TrackingConfig) -> list[str]:
    """Return the names of the trackers that a recipe asks for."""
    wandb = ["wandb"] if wandb_mode(tracking) != "off" else []
    return [*wandb, *(["trackio"] if tracking.trackio else []), *tracking.trackers]


_STARTED: list[Tracker] = []


def start_trackers(spec: StageSpec, artifact: Artifact) -> list[Tracker]:
    """Make and start the trackers of a stage; called on its first rank."""
    for name in chosen(spec.recipe.tracking):
        made = TRACKERS[name]()
        made.start(spec, artifact)
        _STARTED.append(made)
    return list(_STARTED)


def finish_trackers(exit_code: int) -> None:
    """Finish every tracker of this process that has been started, once."""
    while _STARTED:
        _STARTED.pop(0).finish(exit_code)
