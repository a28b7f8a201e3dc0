"""``adhere audit``: what hacks would earn under a recipe's rewards, before anything is trained on them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from adhere.evaluation.audit import audit_rewards, weight_settings
from adhere.evaluation.audit.audit import OrderPolicy
from adhere.evaluation.audit.report import show, write
from adhere.prompts.build import build
from adhere.prompts.config import DataConfig
from adhere.prompts.item import PromptItem, read_items
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import ConfigError, nearest
from adhere.train.config.compose import compose_recipe, recipes_folder
from adhere.train.config.schema import Recipe
from adhere.train.launch.serve.serving import judged

KEYS = ("prompts", "items", "order", "step", "out")
ITEMS = 12
USAGE = f"""\
usage: adhere audit [recipe=NAME | rewards=NAME] [key=value ...]

  prompts=FILE         prompt items to audit with, in place of the recipe's own
  items={ITEMS}             how many of them
  order=report|fail    whether a preference for wrong answers fails the audit
  step=N               the weights of one optimizer step, in place of every step where a schedule changes
  out=FOLDER           where audit.json and audit.md go

All else are overrides of the recipe. docs/audit.md has the rest."""
EXIT_CODES = {"passed": 0, "failed": 1, "outage": 3}
PIPED = 150
"""Columns of the report where it does not go to a terminal."""

BARE = (
    "data=arithmetic",
    "data.constraints.ids=[mathif,ifeval,iftrain]",
    "data.constraints.count=[1,1,1]",
    "data.constraints.ranges={}",
)
"""The data where no recipe is named: sums with one to three of the constraints on answers."""


@dataclass(frozen=True, slots=True)
class Options:
    """The audit's own arguments, and those that go to Hydra."""

    overrides: tuple[str, ...]
    prompts: Path | None
    items: int
    order: OrderPolicy
    step: int | None
    out: Path | None


def audit(arguments: Sequence[str]) -> int:
    """Audit the rewards that ``arguments`` compose, and return one of ``EXIT_CODES``."""
    from rich.console import Console

    if any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE)
        return 0
    options = parse(arguments)
    recipe = compose_recipe(options.overrides)
    settings = weight_settings(recipe.rewards, recipe.grpo.max_steps, options.step)
    items, cut = _items(recipe.data, options)
    with judged(recipe, options.out or _folder(recipe)) as rewards:
        found = audit_rewards(
            rewards.with_weights(next(iter(settings.values()))),
            items,
            default_engine(),
            reasoning=recipe.data.targets.think,
            prefilled=recipe.model.prefilled_reasoning,
            settings=settings if recipe.rewards.scheduled else {},
            order=options.order,
        )
    found = replace(found, skipped=(*cut, *found.skipped))
    console = Console()
    show(found, console if console.is_terminal else Console(width=PIPED))
    for path in write(found, options.out or _folder(recipe)):
        print(path)
    return EXIT_CODES[found.status]


def parse(arguments: Sequence[str]) -> Options:
    """Read ``recipe=NAME | rewards=NAME`` and the audit's own ``KEYS``; all else are overrides.

    Raises:
        ConfigError: an option that is no ``key=value``, or has a value that it does not take.
    """
    given = [a.removeprefix("--") for a in _joined(arguments)]
    if bad := [a for a in given if "=" not in a and not a.startswith("~")]:
        raise ConfigError(f"'{bad[0]}': write key=value; adhere audit recipe=NAME [prompts=FILE] [items={ITEMS}]")
    own = {key: value for key, _, value in (a.partition("=") for a in given) if key in KEYS}
    overrides = [a for a in given if a.partition("=")[0] not in KEYS]
    _check_keys(overrides)
    if not any(a.startswith("recipe=") for a in overrides):
        overrides = [*BARE, *overrides]
    count, order = own.get("items", str(ITEMS)), own.get("order", "report")
    if not count.isdecimal() or int(count) < 1:
        raise ConfigError(f"items: '{count}' is no number of prompts; give 1 or more")
    if order not in get_args(OrderPolicy):
        raise ConfigError(f"order: '{order}' is neither report nor fail")
    if own.get("prompts") == "":
        raise ConfigError("prompts: names no file; give prompts=FILE, or leave it out for the recipe's own prompts")
    prompts, out, step = own.get("prompts"), own.get("out"), own.get("step")
    if step is not None and not step.isdecimal():
        raise ConfigError(f"step: '{step}' is no optimizer step; give 0 or more")
    return Options(
        tuple(overrides),
        Path(prompts) if prompts else None,
        int(count),
        cast(OrderPolicy, order),
        None if step is None else int(step),
        Path(out) if out else None,
    )


def _items(data: DataConfig, options: Options) -> tuple[list[PromptItem], list[str]]:
    """Return the prompt items to audit with, and a word on those of the file that are left out."""
    if options.prompts is None:
        return sample_items(data, options.items), []
    items = read_items(options.prompts)
    left = len(items) - options.items
    cut = [
        f"{options.prompts}: the first {options.items} of {len(items)} items are audited, items={len(items)} for all"
    ]
    return items[: options.items], cut if left > 0 else []


def _check_keys(overrides: Sequence[str]) -> None:
    """Refuse a key that nothing has, with the audit's own keys among the candidates for the one that was meant."""
    groups = [path.name for path in recipes_folder().iterdir() if path.is_dir()]
    known = [*KEYS, *Recipe.model_fields, *groups, "hydra"]
    for key in (override.partition("=")[0] for override in overrides):
        if key.isidentifier() and key not in known:
            raise ConfigError(
                f"{key}: there is no such key{nearest(key, known)}; adhere audit --help lists the audit's"
            )


def sample_items(data: DataConfig, count: int) -> list[PromptItem]:
    """Return ``count`` training items of ``data``, of any length: to count tokens needs a tokenizer."""
    few: dict[str, Any] = {"max_prompt_tokens": None, "train_size": count, "decontaminate": False, "evaluation": []}
    return build(data.model_copy(update=few), "train").items


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``--out FOLDER`` as ``--out=FOLDER``."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in [f"--{key}" for key in KEYS]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _folder(recipe: Recipe) -> Path:
    return Path(recipe.run.root).expanduser() / "audit" / recipe.name
