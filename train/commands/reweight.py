"""``adhere reweight``: what other rewards would have made of a run's rollouts. No model and no torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from adhere.records.artifact import Artifact
from adhere.records.names import slug
from adhere.records.objects import read_object
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError, DataError, nearest
from adhere.train.config.ablation import AblationConfig
from adhere.train.config.schema import Recipe
from adhere.train.config.stage import StageSpec, read_spec

USAGE = """\
usage: adhere reweight RUN [STAGE] key=value ...

  RUN      a run's folder, or that of one GRPO stage
  STAGE    which GRPO stage, where the run has several: composite, or grpo[composite]

  rewards.components.checklist.weight=0,0.5,1   other rewards, in the recipe's own words; commas make several points
  weights='math:1,checklist:0.25;math:1,checklist:0.5'  simplex=4  gate=[true,false]  aggregation=[...]  scoring=[...]
                                                the axes of adhere ablate, and its names of points
  ablation=rlcf_weights|FILE.yaml               the points of an ablation that is planned
  near=0.99                                     cosine from which two points give nearly the same training signal
  out=FOLDER                                    where the files go; default: RUN/reweight/STAGE

docs/reweight.md has the rest."""
OWN = ("near", "out")
AXES = ("weights", "simplex", "gate", "aggregation", "scoring", "judge_samples", "variants")
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

    from adhere.evaluation.reweight import needs_requirements, read_rollouts, show, study, write

    if not arguments or any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE)
        return 0
    options = parse(arguments)
    spec, folder = find_stage(options.run, options.stage)
    original = spec.recipe.rewards
    points = {name: recipe.rewards for name, recipe in compose_points(spec.recipe, options.overrides).items()}
    rollouts = read_rollouts(
        Artifact(folder).rollouts,
        list(original.components),
        spec.recipe.grpo.group_size,
        requirements=any(needs_requirements(original, config) for config in points.values()),
    )
    found = study(rollouts, original, spec.recipe.grpo.max_steps, points, near=options.near)
    console = Console()
    show(found, console if console.is_terminal else Console(width=PIPED))
    for path in write(options.out or options.run / "reweight" / slug(spec.label), found, spec.label):
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
    if Artifact(run).spec.is_file():
        stages = {run: read_spec(Artifact(run).spec)}
    elif RunFolder(run).stages.is_dir():
        links = [p for p in RunFolder(run).stage_links() if read_object(Artifact(p).spec).get("kind") == "grpo"]
        stages = {path: read_spec(Artifact(path).spec) for path in links}
    else:
        raise DataError(f"{run}: is neither a run nor a stage; name a folder such as runs/latest")
    found = {path: spec for path, spec in stages.items() if spec.kind == "grpo"}
    if not found:
        raise DataError(f"{run}: no GRPO stage has been started there, and only those write rollouts")
    names = {path.name if path != run else spec.label: (spec, path) for path, spec in found.items()}
    if stage is not None:
        wanted = slug(stage)
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
    """Return ``recipe`` once for each point: combinations of the ablation's axes and of values in ``overrides``.

    Axes are those of ``adhere ablate``, and so are the names of their points; seeds are no axis here.

    Raises:
        ConfigError: nothing is overridden, an override cannot be used, or one changes more than the rewards.
    """
    from adhere.train.ablation.points import points
    from adhere.train.config.compose import expand_sweep, override_recipe

    if not overrides:
        raise ConfigError("give at least one other reward, such as rewards.components.checklist.weight=0,0.5,1")
    axes = [_axis(a) for a in overrides if a.partition("=")[0].removeprefix("ablation.") in AXES]
    files = [a.partition("=")[2] for a in overrides if a.startswith("ablation=")]
    rest = [a for a in overrides if a.partition("=")[0].removeprefix("ablation.") not in (*AXES, "ablation")]
    grid: Mapping[str, Sequence[str]] = {"": ()}
    if axes or files:
        chosen = _ablation(files[-1]) if files else AblationConfig()
        grid = points(override_recipe(recipe.model_copy(update={"ablation": chosen}), axes))
    found = {}
    for (given, extra), (axis, made) in itertools.product(expand_sweep(rest).items(), grid.items()):
        name = ", ".join(part for part in (axis, given) if part)
        found[name] = override_recipe(recipe, [*extra, *made])
        if found[name].model_copy(update={"rewards": recipe.rewards}) != recipe:
            raise ConfigError(
                f"{name}: overrides more than rewards.*; what a model does under other settings takes a run of its own"
            )
    return found


def _axis(argument: str) -> str:
    """Return an axis as an override; ``weights=a:1,b:0;a:1,b:1`` is short for a list of maps."""
    key, _, value = argument.removeprefix("ablation.").partition("=")
    if key == "weights" and not value.startswith("["):
        value = f"[{','.join('{' + part.strip() + '}' for part in value.split(';'))}]"
    return f"ablation.{key}={value}"


def _ablation(name: str) -> AblationConfig:
    """Read an option of the group ``ablation``, or a file of the same form.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    from adhere.train.config.compose import recipes_folder

    known = {path.stem: path for path in (recipes_folder() / "ablation").glob("*.yaml")}
    path = known.get(name, Path(name))
    if not path.is_file():
        raise ConfigError(f"ablation={name}: there is no such option{nearest(name, known)}, nor such a file")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no keys of an ablation; docs/configuration.md has them")
    try:
        return AblationConfig.model_validate({key: value for key, value in content.items() if key != "defaults"})
    except ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
