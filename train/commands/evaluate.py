"""``adhere evaluate``: measure one model folder, hub id or endpoint's model."""

from __future__ import annotations

from pathlib import Path

from adhere.rewards.errors import ConfigError
from adhere.train.commands.train import start


def evaluate(*words: str) -> int:
    """Measure one model on a suite, or on the prompts of a file.

    Args:
        words: MODEL, then Hydra's command line. The keys of evaluation need no prefix; suite=FILE names prompts.
    """
    from adhere.evaluation.suites import SUITES
    from adhere.train.config.compose import recipes_folder
    from adhere.train.config.schema import EvaluationConfig
    from adhere.train.run.run import plan_recipe, plan_run

    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError("name the model first: adhere evaluate MODEL suite=mathif suite.path=FOLDER")
    model, *rest = words
    overrides = ["recipe=evaluate", f"model.path={Path(model).resolve() if Path(model).is_dir() else model}"]
    for word in rest:
        key, equals, value = word.partition("=")
        if word.startswith("-") or not equals:
            overrides.append(word)
        elif key == "suite" and Path(value).is_file():
            overrides += ["evaluation=prompts", f"evaluation.path={Path(value).resolve()}"]
        elif key == "suite" and ("/" in value or Path(value).suffix):
            raise ConfigError(f"suite: there is no file {value}")
        elif key == "suite" and not (recipes_folder() / "evaluation" / f"{value}.yaml").is_file():
            overrides.append(f"evaluation.suite={value}")
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
    return start(plan_run(overrides))
