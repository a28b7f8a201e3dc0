"""Several suites in one recipe: ``evaluation.suites`` becomes one stage of kind evaluate for each. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

import adhere
from adhere.evaluation.suites import SUITES
from adhere.rewards.config import Strict
from adhere.train.config.named_stages import CheckedStages, named_stages

GROUP = Path(adhere.__file__).resolve().parent / "recipes" / "evaluation"


class SuiteConfig(Strict):
    """One suite of ``evaluation.suites``: what differs from the recipe's ``evaluation``."""

    suite: str | None = None
    """Name of the registered suite; ``None`` is the entry's own name. So one suite can be measured twice."""

    path: str | None = None
    """File or folder of the suite; ``None`` is its data set on the hub, or the recipe's data for ``prompts``."""

    subsets: list[str] | None = None
    """Parts of the suite, as in ``evaluation.subsets``."""

    revision: str | None = None
    """Commit, tag or branch of the suite's data set on the hub."""

    few_shot: int | None = Field(default=None, ge=0, le=32)
    """Examples before each question; ``None`` is ``evaluation.few_shot``."""

    limit: int | None = Field(default=None, ge=1)
    """Only the first so many prompts."""

    mode: Literal["compat", "hardened"] | None = None
    """Which checkers decide; ``None`` is the suite's own."""

    responses: str | None = None
    """File of responses made elsewhere, for ``replay``."""

    without_constraints: bool | None = None
    """Generate a second time without the constraints."""

    sampling: dict[str, float | int] = Field(default_factory=dict)
    """Keys of ``evaluation.sampling`` that differ, such as ``{samples: 16, temperature: 0.6}``."""


def suite_overrides(name: str, entry: SuiteConfig) -> list[str]:
    """Return the overrides that make a stage measure one suite.

    Args:
        name: of the entry.
        entry: what it says.
    """
    suite = entry.suite or name
    words = [f"evaluation={suite}"] if (GROUP / f"{suite}.yaml").is_file() else []
    modes = SUITES[suite].modes
    mode = entry.mode or (modes[0] if len(modes) == 1 else None)
    values: dict[str, Any] = {
        "suite": suite,
        "path": entry.path,
        "subsets": entry.subsets,
        "limit": entry.limit,
        "suites": None,
    }
    values |= {
        key: value
        for key, value in (
            ("mode", mode),
            ("responses", entry.responses),
            ("few_shot", entry.few_shot),
            ("revision", entry.revision),
        )
        if value is not None
    }  # fmt: skip
    if entry.without_constraints is not None:
        values["without_constraints"] = entry.without_constraints
    values |= {f"sampling.{key}": value for key, value in entry.sampling.items()}
    return [*words, *(f"evaluation.{key}={override_value(value)}" for key, value in values.items())]


def override_value(value: Any) -> str:
    """Return a value as Hydra's command line reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(override_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}: {override_value(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, int | float):
        return str(value)
    # In Hydra's quotes a backslash is itself, except before a quote and at the end.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value) + "'"


def with_suite_stages(recipe: Any) -> Any:
    """Return the values of a recipe with a stage for each suite in place of each stage of kind evaluate.

    What is malformed stays as it is; the schema says what is wrong with it.
    """
    evaluation = recipe.get("evaluation") if isinstance(recipe, Mapping) else None
    given = evaluation.get("suites") if isinstance(evaluation, Mapping) else getattr(evaluation, "suites", None)
    if not given or isinstance(recipe.get("stages"), CheckedStages):
        return recipe
    if isinstance(given, list | tuple):
        given = {name: {} for name in given}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        return recipe
    try:
        entries = {
            name: entry if isinstance(entry, SuiteConfig) else SuiteConfig.model_validate(entry or {})
            for name, entry in given.items()
        }
    except ValidationError:
        return recipe
    stages = named_stages(recipe.get("stages"))
    if not isinstance(stages, Mapping):
        return recipe
    expanded: dict[str, Any] = {}
    measured = [n for n, s in stages.items() if isinstance(s, Mapping) and s.get("kind") == "evaluate"]
    for name, stage in stages.items():
        own = list(stage.get("with") or stage.get("overrides") or []) if name in measured else []
        if name not in measured or any(word.startswith("evaluation.suites=") for word in own):
            expanded[name] = stage
            continue
        for label, entry in entries.items():
            made = label if len(measured) == 1 and label not in stages else f"{name}_{label}"
            rest = {key: value for key, value in stage.items() if key not in ("with", "overrides")}
            expanded[made] = {**rest, "with": [*own, *suite_overrides(label, entry)]}
    return {**recipe, "stages": expanded}
