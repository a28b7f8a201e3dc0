"""Trackers: where the figures and rollouts of training go besides the plain files. No torch.

``wandb`` and ``trackio`` are declared here with the interface that a user's own tracker has; every other integration of
transformers is a tracker by its name.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from adhere.records.artifact import Artifact
from adhere.rewards.errors import ConfigError, nearest
from adhere.rewards.registry import Registry

if TYPE_CHECKING:
    from adhere.train.config.schema import TrackingConfig
    from adhere.train.config.stage import StageSpec


class Tracker:
    """One place to log to. Subclass it, define ``log`` or ``rollouts``, and decorate it: ``@tracker("name")``.

    An object is made for every attempt at a training stage, on its first rank, and for every evaluation. What one of
    its methods raises ends the stage. An attempt that resumes logs the steps after its checkpoint again.
    """

    report_to: ClassVar[str | None] = None
    """The name of the transformers integration that logs the figures; ``log`` is not called where there is one."""

    def start(self, spec: StageSpec, artifact: Artifact) -> None:
        """Begin, before the first step. ``spec.key`` identifies the stage over all its attempts."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of optimizer step ``step``, those of ``metrics.jsonl``."""

    def rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the first rollouts of a generation: prompt, response, scores and advantage of each."""

    def evaluation(self, figures: Mapping[str, float]) -> None:
        """Log what an evaluation measured, by metric (``joint``, …), by ``log`` as step 0 unless defined.

        Not called where it is not defined and ``report_to`` names an integration, which then logs it.
        """
        self.log(0, figures)

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
    """Weights & Biases. A stage keeps one id over all its attempts: the beginning of its key.

    The configuration holds the recipe, and under ``stage`` which point and seed of an ablation it belongs to; both are
    tags too, where the stage belongs to one of each.
    """

    report_to = "wandb"

    def __init__(self) -> None:
        self._table: Any = None

    def start(self, spec: StageSpec, artifact: Artifact) -> None:
        import wandb

        tracking, stage = spec.recipe.tracking, stage_of(spec)
        seed = None if stage["seed"] is None else f"seed-{stage['seed']}"
        tags = [*tracking.tags, *(str(tag) for tag in (stage["point"], seed) if tag and len(str(tag)) <= LONGEST_TAG)]
        wandb.init(
            project=tracking.project,
            name=spec.label,
            group=tracking.group or spec.recipe.name,
            tags=list(dict.fromkeys(tags)),
            job_type=spec.kind,
            id=spec.key[:16],
            resume="allow",
            dir=str(artifact.path),
            mode=mode if (mode := wandb_mode(tracking)) != "off" else "disabled",
            config={**spec.recipe.model_dump(mode="json"), "stage": stage},
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

    def evaluation(self, figures: Mapping[str, float]) -> None:
        import wandb

        if wandb.run is not None:
            wandb.run.log({f"evaluation/{name}": value for name, value in figures.items()})

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


INTEGRATIONS: Mapping[str, tuple[str, ...]] = {
    "azure_ml": ("azureml",), "clearml": ("clearml",), "codecarbon": ("codecarbon",), "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub",), "dvclive": ("dvclive",), "flyte": ("flytekit",), "kubeflow": (), "mlflow": ("mlflow",),
    "neptune": ("neptune",), "swanlab": ("swanlab",), "tensorboard": ("tensorboard", "tensorboardX"),
}  # fmt: skip
"""The other integrations of transformers, each with the packages of which it needs one."""


class Integration(Tracker):
    """A tracker of transformers, whose callback logs the figures of training and of an evaluation."""

    def start(self, spec: StageSpec, artifact: Artifact) -> None:
        """Begin. TensorBoard's files go into the stage's folder, unless TENSORBOARD_LOGGING_DIR says where."""
        self._placed = self.report_to == "tensorboard" and "TENSORBOARD_LOGGING_DIR" not in os.environ
        if self._placed:
            os.environ["TENSORBOARD_LOGGING_DIR"] = str(artifact.path / "tensorboard")

    def finish(self, exit_code: int) -> None:
        if self._placed:
            os.environ.pop("TENSORBOARD_LOGGING_DIR", None)


LONGEST_TAG = 64
"""Characters of a tag of W&B."""


def stage_of(spec: StageSpec) -> dict[str, Any]:
    """Return what identifies a stage in a tracker; its point and seed where it belongs to one of each."""
    points, seeds = ({member[place] for member in spec.members.values()} for place in (0, 1))
    return {
        "kind": spec.kind,
        "label": spec.label,
        "key": spec.key,
        "point": points.pop() if len(points) == 1 else None,
        "seed": seeds.pop() if len(seeds) == 1 else None,
    }


WANDB_MODES: Mapping[str, Literal["online", "offline", "off"]] = {
    "online": "online", "run": "online", "shared": "online", "offline": "offline", "dryrun": "offline",
    "disabled": "off",
}  # fmt: skip
"""What W&B's own variable WANDB_MODE may say, and what that is here."""


def wandb_mode(tracking: TrackingConfig) -> Literal["online", "offline", "off"]:
    """Return how W&B is used: as the recipe says, else as WANDB_MODE does, else online where there is a key.

    The key is WANDB_API_KEY, or the one that ``wandb login`` left in the netrc file for the server.

    Raises:
        ConfigError: W&B is to be online and has no key, or WANDB_MODE is no mode of it.
    """
    said = os.environ.get("WANDB_MODE", "")
    if said and tracking.wandb == "auto" and said not in WANDB_MODES:
        raise ConfigError(f"WANDB_MODE: is '{said}', not one of {', '.join(WANDB_MODES)}")
    mode = (WANDB_MODES[said] if said else None) if tracking.wandb == "auto" else tracking.wandb
    if mode in ("off", "offline"):
        return mode
    known = bool(os.environ.get("WANDB_API_KEY")) or _logged_in()
    if mode == "online" and not known:
        asked = "tracking.wandb: online" if tracking.wandb == "online" else f"WANDB_MODE: {said}"
        raise ConfigError(f"{asked} needs a key: run wandb login, set WANDB_API_KEY, or use offline or off")
    return "online" if known else "off"


def _logged_in() -> bool:
    """Whether the netrc file has a key for W&B's server."""
    server = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    named = os.environ.get("NETRC")
    places = [Path(named)] if named else [Path("~/.netrc"), Path("~/_netrc")]
    for path in (place.expanduser() for place in places):
        if not path.is_file():
            continue
        # A file that cannot be parsed matters to who has W&B in it.
        try:
            found = netrc.netrc(path).hosts.get(server)
        except netrc.NetrcParseError as error:
            if server not in path.read_text(encoding="utf-8", errors="replace"):
                return False
            raise ConfigError(f"{error}; mend it, so that W&B's key can be read, or set tracking.wandb=off") from error
        return found is not None and bool(found[2])
    return False


def chosen(tracking: TrackingConfig) -> list[str]:
    """Return the names of the trackers that a recipe asks for."""
    wandb = ["wandb"] if wandb_mode(tracking) != "off" else []
    return [*wandb, *(["trackio"] if tracking.trackio else []), *tracking.trackers]


def tracker_named(name: str) -> type[Tracker]:
    """Return a tracker: ours, a plug-in's, or else an integration of transformers.

    Raises:
        ConfigError: there is no such tracker.
    """
    if name in TRACKERS:
        return TRACKERS[name]
    if name not in INTEGRATIONS:
        names = [*TRACKERS, *INTEGRATIONS]
        raise ConfigError(f"there is no tracker '{name}'{nearest(name, names)}; there are {', '.join(names)}")
    return type(name, (Integration,), {"report_to": name})


_STARTED: list[Tracker] = []


def start_trackers(spec: StageSpec, artifact: Artifact) -> list[Tracker]:
    """Make and start the trackers of a stage; called on its first rank, before transformers makes its callbacks."""
    for name in chosen(spec.recipe.tracking):
        made = tracker_named(name)()
        made.start(spec, artifact)
        _STARTED.append(made)
    return list(_STARTED)


def finish_trackers(exit_code: int) -> None:
    """Finish every tracker of this process that has been started, once."""
    while _STARTED:
        _STARTED.pop(0).finish(exit_code)
