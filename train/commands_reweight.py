"""``adhere reweight``: what other rewards would have made of a run's rollouts. No model and no torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rewards.errors import ConfigError, DataError, nearest
from train.config.schema import Recipe
from train.config.stage import StageSpec, read_spec

USAGE = """\
usage: adhere reweight RUN [STAGE] key=value ...

  RUN      a run's folder, or that of one GRPO stage
  STAGE    which GRPO stage, where the run has several: composite, or grpo[composite]

  rewards.components.checklist.weight=0,0.5,1   other rewards, in the recipe's own words; commas make several points
  near=0.99                                     cosine from which two points give nearly the same training signal
  out=FOLDER                                    where the files go; default: RUN/reweight/STAGE

docs/reweight.md has the rest."""
OWN = ("near", "out")
PIPED = 150
"""Columns of the tables where they do not go to a terminal."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command's own arguments, and the overrides of the recipe."""

    run: Path
    stage: str | None
    overrides: tuple[str, ...]
    near: float
    out: Path | None


def reweight(arguments: Sequence[str]) -> int:
    """Recompute a stage's advantages under the rewards that ``arguments`` describe; print and write the comparison."""
    from rich.console import Console

    from evaluation.reweight import needs_requirements, read_rollouts, show, study, write

    if not arguments or any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE)
        return 0
    options = parse(arguments)
    spec, folder = find_stage(options.run, options.stage)
    original = spec.recipe.rewards
    points = {name: recipe.rewards for name, recipe in compose_points(spec.recipe, options.overrides).items()}
    rollouts = read_rollouts(
        folder / "rollouts",
        list(original.components),
        spec.recipe.grpo.group_size,
        requirements=any(needs_requirements(original, config) for config in points.values()),
    )
    found = study(rollouts, original, spec.recipe.grpo.max_steps, points, near=options.near)
    console = Console()
    show(found, console if console.is_terminal else Console(width=PIPED))
    label = spec.label.replace("[", "-").replace("]", "")
    for path in write(options.out or options.run / "reweight" / label, found, spec.label):
        print(path)
    return 0


def parse(arguments: Sequence[str]) -> Options:
    """Read ``RUN [STAGE] key=value ...``.

    Raises:
        ConfigError: no run is named, or an option has a value that it does not take.
    """
    words = list(itertools.takewhile(lambda a: "=" not in a and not a.startswith("~"), arguments))
    rest = arguments[len(words) :]
    if not 1 <= len(words) <= 2:
        raise ConfigError("name the run first, and one stage at most: adhere reweight RUN [STAGE] key=value ...")
    own = {key: value for key, _, value in (a.partition("=") for a in rest) if key in OWN}
    near = own.get("near", "0.99")
    try:
        cosine = float(near)
    except ValueError:
        cosine = -1.0
    if not 0.0 < cosine <= 1.0:
        raise ConfigError(f"near: '{near}' is no cosine; give a number above 0 and up to 1")
    overrides = tuple(a for a in rest if a.partition("=")[0] not in OWN)
    out = own.get("out")
    return Options(Path(words[0]), words[1] if len(words) > 1 else None, overrides, cosine, Path(out) if out else None)


def find_stage(run: Path, stage: str | None) -> tuple[StageSpec, Path]:
    """Return the GRPO stage that is meant, and its folder.

    Raises:
        DataError: there is no such run, or it holds no GRPO stage.
        ConfigError: several stages could be meant, or none has this name.
    """
    if (run / "stage.yaml").is_file():
        stages = {run: read_spec(run / "stage.yaml")}
    elif (run / "stages").is_dir():
        paths = sorted(
            p for p in (run / "stages").iterdir() if p.name.startswith("grpo") and (p / "stage.yaml").is_file()
        )
        stages = {path: read_spec(path / "stage.yaml") for path in paths}
    else:
        raise DataError(f"{run}: is neither a run nor a stage; name a folder such as runs/latest")
    found = {path: spec for path, spec in stages.items() if spec.kind == "grpo"}
    if not found:
        raise DataError(f"{run}: no GRPO stage has been started there, and only those write rollouts")
    names = {path.name if path != run else spec.label: (spec, path) for path, spec in found.items()}
    if stage is not None:
        wanted = stage.replace("[", "-").replace("]", "")
        names = {name: pair for name, pair in names.items() if wanted in (name, name.removeprefix("grpo-"))}
        if not names:
            known = [path.name.removeprefix("grpo-") for path in found]
            raise ConfigError(
                f"{run}: has no GRPO stage '{stage}'{nearest(stage, known)}; there are {', '.join(known)}"
            )
    if len(names) > 1:
        known = [name.removeprefix("grpo-") for name in names]
        raise ConfigError(f"{run}: has {len(names)} GRPO stages; name one of them after it: {', '.join(known)}")
    return next(iter(names.values()))


def compose_points(recipe: Recipe, overrides: Sequence[str]) -> dict[str, Recipe]:
    """Return ``recipe`` once for each combination of values in ``overrides``, named by what varies.

    Raises:
        ConfigError: nothing is overridden, an override cannot be used, or one changes more than the rewards.
    """
    from train.config.compose import expand_sweep, override_recipe

    if not overrides:
        raise ConfigError("give at least one other reward, such as rewards.components.checklist.weight=0,0.5,1")
    found = {name: override_recipe(recipe, point) for name, point in expand_sweep(overrides).items()}
    for name, point in found.items():
        if point.model_copy(update={"rewards": recipe.rewards}) != recipe:
            raise ConfigError(
                f"{name}: overrides more than rewards.*; what a model does under other settings takes a run of its own"
            )
    return found
