"""``adhere evaluate``: measure one model folder, hub id or endpoint's model, or responses that were made elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from adhere.evaluation.remedies import parse_remedy
from adhere.rewards.errors import ConfigError
from adhere.train.commands.train import start

if TYPE_CHECKING:
    from adhere.train.run.run import Run

WIDTH = 120
"""Columns of the table of remedies where the output is not a terminal."""


def evaluate(*words: str) -> int:
    """Measure one model on a suite, or on the prompts of a file.

    Args:
        words: MODEL, then Hydra's command line. The keys of evaluation need no prefix; suite=FILE names prompts, and
            remedies=[none,repeat,...] compares remedies; to=FOLDER copies the results there. suite=lm_eval tasks=[...]
            runs lm-evaluation-harness.
    """
    from rich.console import Console

    from adhere.train.run.graph import order
    from adhere.train.run.run import plan_recipe, plan_run

    if "suite=lm_eval" in words[1:]:
        from adhere.train.commands.lm_eval import lm_eval

        return lm_eval(words)
    overrides, to = evaluation_overrides(words)
    if any(word.startswith("-") for word in words):
        from adhere.train.commands.through_hydra import through_hydra

        return through_hydra(overrides, lambda recipe, given: start(plan_recipe(recipe, given)))
    run = plan_run(overrides)
    code = start(run)
    if to is not None:
        copy_results(run, to)
    if any(word.startswith("remedies=") for word in words) and all(run.artifact(key).done for key in run.graph.stages):
        from adhere.evaluation.remedies.table import remedies_table, write_remedies
        from adhere.records.objects import read_object

        results = [read_object(run.artifact(stage.key).results) for stage in order(run.graph)]
        write_remedies(run.path, results)
        Console(width=None if sys.stdout.isatty() else WIDTH).print(remedies_table(results))
        print(f"the table is {run.path / 'remedies.md'}, and .csv beside it")
    return code


def evaluation_overrides(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return what the command's words come to as overrides of a recipe, and the folder of ``to=``, if one is named.

    Raises:
        ConfigError: no model is named, or nothing to measure it on, or two words contradict each other.
    """
    from adhere.evaluation.suites import SUITES
    from adhere.train.config.compose import recipes_folder
    from adhere.train.config.schema import EvaluationConfig

    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError("name the model first: adhere evaluate MODEL suite=mathif suite.path=FOLDER")
    model, *rest = words
    remedies = next((word.partition("=")[2] for word in rest if word.startswith("remedies=")), None)
    replayed = any(word.partition("=")[2] == "replay" for word in rest if word.partition("=")[0].endswith("backend"))
    path = str(Path(model).resolve()) if Path(model).is_dir() and not replayed else model
    quoted = path.replace("\\", "\\\\").replace("'", "\\'")
    overrides = ["recipe=evaluate", f"model.path='{quoted}'" if replayed else f"model.path={path}"]
    to: Path | None = None
    for word in rest:
        key, equals, value = word.partition("=")
        if key == "remedies":
            overrides.append(f"stages=[{','.join(remedy_stages(value))}]")
        elif word.startswith("-") or not equals:
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
            overrides.append(f"evaluation.suite={value}")
            if value in SUITES and "hardened" not in SUITES[value].modes:
                overrides.append(f"evaluation.mode={SUITES[value].modes[0]}")
        elif key == "remedy" and value.startswith(("{", "null")):
            overrides.append(f"evaluation.remedy={value}")
        elif key == "remedy" or key.startswith("remedy."):
            option = "name" if key == "remedy" else key.removeprefix("remedy.")
            overrides.append(f"++evaluation.remedy.{option}={value}")
        elif key == "suite" or key.startswith("suite."):
            overrides.append(word.replace("suite", "evaluation", 1))
        elif key.split(".")[0] in EvaluationConfig.model_fields:
            overrides.append(f"evaluation.{word}")
        else:
            overrides.append(word)
    flagged = any(word.startswith("-") for word in rest)
    says = ("suite", "suites", "path", "data", "evaluation")
    keys = [word.partition("=")[0].lstrip("+~").partition("@")[0].removeprefix("evaluation.") for word in rest]
    if not flagged and not any(key in says or key.startswith(("suite.", "data.")) for key in keys):
        known = sorted({path.stem for path in (recipes_folder() / "evaluation").glob("*.yaml")} | {*SUITES})
        raise ConfigError(
            f"suite: say what {model} is measured on: suite=NAME ({', '.join(known)}), suite=FILE of prompts, or "
            f"data=NAME for a recipe's evaluation data"
        )
    if remedies is not None and any(word.startswith(("-", "remedy=")) for word in rest):
        raise ConfigError("remedies: is a comparison in one run, without remedy=NAME and without Hydra's flags")
    return overrides, to


def remedy_stages(given: str) -> list[str]:
    """Return a stage of a recipe, in Hydra's words, for each remedy of a list.

    Args:
        given: the list as it stands on the command line: names, or ``{name: NAME, option: value}``.

    Raises:
        ConfigError: it is not a list of remedies.
    """
    try:
        remedies = yaml.safe_load(given)
    except yaml.YAMLError as error:
        raise ConfigError(f"remedies: '{given}' is not valid YAML; write [none,repeat]") from error
    if not isinstance(remedies, list) or not remedies:
        raise ConfigError(f"remedies: '{given}' is not a list; write [none,repeat]")
    stages: dict[str, str] = {}
    for remedy in remedies:
        try:
            chosen = parse_remedy(remedy if isinstance(remedy, dict) else str(remedy))
        except ConfigError as error:
            raise ConfigError(f"remedies: {error}") from error
        options = remedy if isinstance(remedy, dict) else {"name": remedy}
        words = [f"++evaluation.remedy.{key}={json.dumps(value)}" for key, value in options.items()]
        quoted = ",".join("'" + word.replace("'", "\\'") + "'" for word in words)
        name = chosen.name if chosen.name not in stages else f"{chosen.name}_{len(stages)}"
        stages[name] = f"{{{name}:{{kind:evaluate,of:[base],with:[{quoted}]}}}}"
    return list(stages.values())


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
