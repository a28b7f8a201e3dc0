"""``adhere reweight``: what other rewards would have made of a run's rollouts. No model and no torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from adhere.records.artifact import Artifact
from adhere.records.names import slug
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError, DataError, nearest
from adhere.train.commands.words import load_named, stages_called
from adhere.train.config.ablation import AblationConfig
from adhere.train.config.schema import Recipe
from adhere.train.config.stage import StageSpec, read_spec

AXES = ("weights", "simplex", "gate", "aggregation", "scoring", "judge_samples", "variants")
RECORDING = ("grpo", "rehearse")
"""Kinds of stages that record rollouts."""

PIPED = 150
"""Columns of the tables where they do not go to a terminal."""


def reweight(run: Path, /, *words: str, near: float = 0.99, out: Path | None = None, plugins: str | None = None) -> int:
    """Recompute a stage's advantages under other rewards; print and write the comparison.

    Other rewards are written in the recipe's own words, and commas make several points. The axes of adhere ablate
    work as well: simplex=4, gate=[true,false], weights='math:1,checklist:0.25;math:1,checklist:0.5'. So do the points
    of a planned ablation: ablation=rlcf_weights, ablation=FILE.yaml.

    Args:
        run: A run's folder, or that of one GRPO stage.
        words: [STAGE] where the run has several, such as composite or grpo[composite]; then key=value.
        near: Cosine in (0, 1] from which two points give nearly the same training signal.
        out: Where the files go; default: RUN/reweight/STAGE.
        plugins: [my_lab.rewards]: modules to import first.
    """
    from rich.console import Console

    from adhere.evaluation.reweight import needs_requirements, read_rollouts, show, study, write

    stage = words[0] if words and "=" not in words[0] and not words[0].startswith("~") else None
    overrides = words[1:] if stage is not None else words
    if "=" in run.name and not run.exists():
        raise ConfigError("name the run first, and one stage at most: adhere reweight RUN [STAGE] key=value ...")
    if bare := [word for word in overrides if "=" not in word and not word.startswith("~")]:
        raise ConfigError(f"'{bare[0]}': name one stage at most, then write key=value")
    if not 0.0 < near <= 1.0:
        raise ConfigError(f"near: '{near:g}' is not a cosine; give a number above 0 and up to 1")
    load_named(plugins)
    spec, folder = find_stage(run, stage)
    original = spec.recipe.rewards
    points = {name: recipe.rewards for name, recipe in compose_points(spec.recipe, overrides).items()}
    rollouts = read_rollouts(
        Artifact(folder).rollouts,
        list(original.components),
        spec.recipe.grpo.group_size,
        requirements=any(needs_requirements(original, config) for config in points.values()),
    )
    found = study(rollouts, original, spec.recipe.grpo.max_steps, points, near=near)
    console = Console()
    show(found, console if console.is_terminal else Console(width=PIPED))
    for path in write(out or run / "reweight" / slug(spec.label), found, spec.label):
        print(path)
    return 0


def find_stage(run: Path, stage: str | None) -> tuple[StageSpec, Path]:
    """Return the GRPO stage that is meant, and its folder.

    Raises:
        DataError: there is no such run, or it holds no GRPO stage.
        ConfigError: several stages could be meant, or none has this name.
    """
    if Artifact(run).spec.is_file():
        spec = read_spec(Artifact(run).spec)
        if spec.kind not in RECORDING:
            raise DataError(f"{run}: no GRPO stage has been started there, and only those write rollouts")
        if stage is not None and stage not in (spec.label, slug(spec.label)):
            raise ConfigError(f"{run}: is the stage {spec.label}, not '{stage}'; leave the name out")
        return spec, run
    if not RunFolder(run).exists:
        raise DataError(f"{run}: is neither a run nor a stage; name a folder such as runs/latest")
    folder = RunFolder(run)
    recording = [one for one in folder.plan().stages if one.kind in RECORDING and folder.artifact(one).spec.is_file()]
    if not recording:
        raise DataError(f"{run}: no GRPO stage has been started there, and only those write rollouts")
    found = recording if stage is None else stages_called(recording, stage)
    if len(found) > 1:
        raise ConfigError(
            f"{run}: has {len(found)} GRPO stages; name one of them after it: {', '.join(one.label for one in found)}"
        )
    artifact = folder.artifact(found[0])
    return read_spec(artifact.spec), artifact.path


def compose_points(recipe: Recipe, overrides: Sequence[str]) -> dict[str, Recipe]:
    """Return ``recipe`` once for each point: combinations of the ablation's axes and of values in ``overrides``.

    Axes are those of ``adhere ablate``, and so are the names of their points; seeds are not an axis here.

    Raises:
        ConfigError: nothing is overridden, an override or a file cannot be used, or one changes more than the rewards.
    """
    from adhere.train.ablation.points import points
    from adhere.train.config.compose import expand_sweep, override_recipe, recipes_folder

    if not overrides:
        raise ConfigError("give at least one other reward, such as rewards.components.checklist.weight=0,0.5,1")
    axes = [_axis(a) for a in overrides if a.partition("=")[0].removeprefix("ablation.") in AXES]
    files = [a.partition("=")[2] for a in overrides if a.startswith("ablation=")]
    rest = [a for a in overrides if a.partition("=")[0].removeprefix("ablation.") not in (*AXES, "ablation")]
    grid: Mapping[str, Sequence[str]] = {"": ()}
    if axes or files:
        chosen = AblationConfig()
        if files:
            # An option of the group ablation, or a file of the same form.
            options = {path.stem: path for path in (recipes_folder() / "ablation").glob("*.yaml")}
            path = options.get(files[-1], Path(files[-1]))
            if not path.is_file():
                near = nearest(files[-1], options)
                raise ConfigError(f"ablation={files[-1]}: there is no such option{near}, nor such a file")
            try:
                content = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise ConfigError(f"{path}: is not valid YAML: {error}") from error
            if not isinstance(content, dict):
                raise ConfigError(f"{path}: holds no keys of an ablation; docs/configuration.md has them")
            try:
                chosen = AblationConfig.model_validate({k: v for k, v in content.items() if k != "defaults"})
            except ValidationError as error:
                raise ConfigError(f"{path}: {error}") from error
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
