"""``adhere evaluate``: measure one model folder, hub id or endpoint's model, or responses that were made elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from adhere.rewards.errors import ConfigError
from adhere.train.commands.train import start

if TYPE_CHECKING:
    from adhere.train.run.run import Run


def evaluate(*words: str) -> int:
    """Measure one model on a suite, or on the prompts of a file.

    Args:
        words: MODEL, then Hydra's command line. The keys of evaluation need no prefix; suite=FILE names prompts, and
            to=FOLDER copies the results there.
    """
    from adhere.evaluation.suites import SUITES
    from adhere.train.config.compose import recipes_folder
    from adhere.train.config.schema import EvaluationConfig
    from adhere.train.run.run import plan_recipe, plan_run

    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError("name the model first: adhere evaluate MODEL suite=mathif suite.path=FOLDER")
    model, *rest = words
    replayed = any(word.partition("=")[2] == "replay" for word in rest if word.partition("=")[0].endswith("backend"))
    path = str(Path(model).resolve()) if Path(model).is_dir() and not replayed else model
    quoted = path.replace("\\", "\\\\").replace("'", "\\'")
    overrides = ["recipe=evaluate", f"model.path='{quoted}'" if replayed else f"model.path={path}"]
    to: Path | None = None
    for word in rest:
        key, equals, value = word.partition("=")
        if word.startswith("-") or not equals:
            overrides.append(word)
        elif key == "to":
            if not value:
                raise ConfigError("to: has no value; name the folder that gets the results")
            to = Path(value)
            if to.exists() and not to.is_dir():
                raise ConfigError(f"to: {to} is a file; name the folder that gets the results")
        elif key in ("responses", "evaluation.responses"):
            overrides.append(f"evaluation.responses={Path(value).resolve()}")
        elif key == "suite" and Path(value).is_file():
            overrides += ["evaluation=prompts", f"evaluation.path={Path(value).resolve()}"]
        elif key == "suite" and ("/" in value or Path(value).suffix):
            raise ConfigError(f"suite: there is no file {value}")
        elif key == "suite" and not (recipes_folder() / "evaluation" / f"{value}.yaml").is_file():
            overrides += [f"evaluation.suite={value}"]
            if value in SUITES and "hardened" not in SUITES[value].modes:
                overrides.append(f"evaluation.mode={SUITES[value].modes[0]}")
        elif key == "suite" or key.startswith("suite."):
            overrides.append(word.replace("suite", "evaluation", 1))
        elif key.split(".")[0] in EvaluationConfig.model_fields:
            overrides.append(f"evaluation.{word}")
        else:
            overrides.append(word)
    flagged = any(word.startswith("-") for word in rest)
    says = ("suite", "path", "data", "evaluation", "evaluation.suite", "evaluation.path")
    keys = [word.partition("=")[0].lstrip("+~").partition("@")[0] for word in rest]
    if not flagged and not any(key in says or key.startswith(("suite.", "data.")) for key in keys):
        known = sorted({path.stem for path in (recipes_folder() / "evaluation").glob("*.yaml")} | {*SUITES})
        raise ConfigError(
            f"suite: say what {model} is measured on: suite=NAME ({', '.join(known)}), suite=FILE of prompts, or "
            f"data=NAME for a recipe's evaluation data"
        )
    if flagged:
        from adhere.train.commands.through_hydra import through_hydra

        return through_hydra(overrides, lambda recipe, given: start(plan_recipe(recipe, given)))
    run = plan_run(overrides)
    code = start(run)
    if to is not None:
        copy_results(run, to)
    return code


def copy_results(run: Run, to: Path) -> None:
    """Copy ``results.json`` and ``responses.parquet`` into ``to``; of several suites each into a folder of its name."""
    found = [run.artifact(key) for key in run.graph.stages]
    finished = [(artifact, key) for artifact, key in zip(found, run.graph.stages, strict=True) if artifact.done]
    for artifact, key in finished:
        folder = to if len(finished) == 1 else to / run.graph.stages[key].name
        folder.mkdir(parents=True, exist_ok=True)
        for file in (artifact.results, artifact.responses):
            shutil.copyfile(file, folder / file.name)
        print(f"results: {folder / artifact.results.name}")
