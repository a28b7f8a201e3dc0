"""The commands that compose a recipe or read files; each is a few lines over the part that does the work."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adhere.rewards.errors import AdhereError, ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from adhere.train.run.run import Run


def train(arguments: Sequence[str]) -> int:
    """Run the recipe that native Hydra ``arguments`` describe."""
    from adhere.train.run.run import plan_run

    if any(a.startswith("-") for a in arguments):
        return _through_hydra(arguments, _train_point)
    return _execute(plan_run(arguments))


def plan(arguments: Sequence[str]) -> int:
    """Print the plan of the recipe that ``arguments`` describe; nothing is started or written."""
    from adhere.train.run.run import plan_run

    if any(a.startswith("-") for a in arguments):
        return _through_hydra(arguments, _describe)
    return _describe(plan_run(arguments))


def evaluate(arguments: Sequence[str]) -> int:
    """Measure one model: ``MODEL suite=mathif|FILE [key=value ...]``; the keys of ``evaluation`` need no prefix."""
    from adhere.train.config.schema import EvaluationConfig
    from adhere.train.run.run import plan_run

    if not arguments or "=" in arguments[0] or arguments[0].startswith("-"):
        raise ConfigError("name the model first: adhere evaluate MODEL suite=mathif suite.path=FOLDER")
    model, *rest = arguments
    overrides = ["recipe=evaluate", f"model.path={Path(model).resolve() if Path(model).is_dir() else model}"]
    for argument in rest:
        key, _, value = argument.partition("=")
        if key == "suite" and Path(value).is_file():
            overrides += ["evaluation=prompts", f"evaluation.path={Path(value).resolve()}"]
        elif key == "suite" and ("/" in value or Path(value).suffix):
            raise ConfigError(f"suite: there is no file {value}")
        elif key == "suite" or key.startswith("suite."):
            overrides.append(argument.replace("suite", "evaluation", 1))
        elif key.split(".")[0] in EvaluationConfig.model_fields:
            overrides.append(f"evaluation.{argument}")
        else:
            overrides.append(argument)
    return _execute(plan_run(overrides))


def score(arguments: Sequence[str]) -> int:
    """Score a file of responses: ``IN OUT [mode=compat|hardened]``."""
    from adhere.evaluation.score_file import score_file

    words = [a for a in arguments if not a.startswith("mode=")]
    modes = [a.removeprefix("mode=") for a in arguments if a.startswith("mode=")] or ["hardened"]
    if len(words) != 2:
        raise ConfigError("usage: adhere score IN.jsonl[.gz] OUT.jsonl[.gz] [mode=compat|hardened]")
    if modes[-1] not in ("compat", "hardened"):
        raise ConfigError(f"mode: '{modes[-1]}' is neither compat nor hardened")
    summary = score_file(Path(words[0]), Path(words[1]), "compat" if modes[-1] == "compat" else "hardened")
    print(
        "  ".join(
            f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in summary.items()
        )
    )
    return 0


def export(arguments: Sequence[str]) -> int:
    """Write a run's models and responses in another tool's form."""
    from adhere.train.run.export import FORMATS, export_run

    parser = argparse.ArgumentParser(prog="adhere export")
    parser.add_argument("run", type=Path, help="a run's folder, for example runs/latest")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--to", type=Path, default=None, help="folder to write; default: RUN/export/FORMAT")
    parsed = parser.parse_args(arguments)
    for path in export_run(parsed.run, parsed.format, parsed.to):
        print(path)
    return 0


def _describe(run: Run) -> int:
    from adhere.train.plan.describe import describe

    print(describe(run))
    return 0


def _execute(run: Run) -> int:
    from adhere.train.run.run import execute

    if run.recipe.launcher.kind == "slurm":
        from adhere.train.commands.cluster import submit

        return submit(run)
    started = time.perf_counter()
    print(f"{run.recipe.name}: {run.path}")
    ran = execute(run)
    if ran == 0:
        print("nothing to do: every stage of this configuration is done")
    else:
        print(f"{ran} {'stage' if ran == 1 else 'stages'} ran in {time.perf_counter() - started:.0f} s")
    return 0


def _train_point(run: Run) -> float | None:
    """Run one point of a sweep, and return its joint rate, which a sweeper that searches (Optuna's) maximises."""
    from adhere.train.run.run import joint_rate

    _execute(run)
    return joint_rate(run) if run.recipe.launcher.kind == "local" else None


def _through_hydra(arguments: Sequence[str], act: Callable[[Run], float | None]) -> int:
    """Hand sweeps and Hydra's own flags to Hydra; each point of a sweep is one run, sharing stages with the others."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from adhere.train.config.compose import recipe_of, recipes_folder
    from adhere.train.run.run import plan_recipe

    @hydra.main(config_path=str(recipes_folder()), config_name="config", version_base="1.3")
    def task(config: DictConfig) -> float | None:
        try:
            return act(plan_recipe(recipe_of(config), list(HydraConfig.get().overrides.task)))
        except AdhereError as error:
            # Hydra would print a traceback of its own for an exception; an exit ends the sweep with our message.
            print(f"adhere: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code) from error

    sys.argv = ["adhere", *arguments]
    task()
    return 0
