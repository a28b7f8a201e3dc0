"""``adhere audit``: what hacks would earn under a recipe's rewards, before anything is trained on them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from adhere.prompts.config import DataConfig
from adhere.prompts.item import PromptItem, read_items
from adhere.rewards.errors import ConfigError, nearest
from adhere.train.commands.words import WHOLE
from adhere.train.config.compose import compose_recipe, recipes_folder
from adhere.train.config.schema import Recipe

KEYS = ("prompts", "items", "order", "step", "out")
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


def audit(
    *words: str,
    prompts: Path | None = None,
    items: Annotated[int, WHOLE] = 12,
    order: Literal["report", "fail"] = "report",
    step: Annotated[int | None, WHOLE] = None,
    out: Path | None = None,
) -> int:
    """Show what known hacks would earn under the rewards of a recipe; exit 1 if one earns as much as honesty.

    Args:
        words: Hydra's command line: recipe=NAME or rewards=NAME, and overrides of the recipe.
        prompts: File of prompt items to audit with, in place of the recipe's own.
        items: How many of them, 1 or more.
        order: Whether a preference for wrong answers fails the audit.
        step: Audit the weights of this optimizer step, in place of every step where a schedule changes.
        out: Folder of audit.json and audit.md; default: runs/audit/NAME.
    """
    from rich.console import Console

    from adhere.evaluation.audit import audit_rewards, weight_settings
    from adhere.evaluation.audit.report import show, write
    from adhere.rewards.engine import default_engine
    from adhere.train.launch.serve.serving import judged

    if items < 1:
        raise ConfigError(f"items: '{items}' is not a number of prompts; give 1 or more")
    if step is not None and step < 0:
        raise ConfigError(f"step: '{step}' is not an optimizer step; give 0 or more")
    overrides = audited(words)

    def act(recipe: Recipe) -> int:
        settings = weight_settings(recipe.rewards, recipe.grpo.max_steps, step)
        cut: tuple[str, ...] = ()
        if prompts is None:
            chosen = sample_items(recipe.data, items)
        else:
            chosen = read_items(prompts)
            if len(chosen) > items:
                many = len(chosen)
                cut = (f"{prompts}: the first {items} of {many} items are audited, items={many} for all",)
            chosen = chosen[:items]
        folder = out or Path(recipe.run.root).expanduser() / "audit" / recipe.name
        with judged(recipe, folder) as rewards:
            found = audit_rewards(
                rewards.with_weights(next(iter(settings.values()))),
                chosen,
                default_engine(),
                reasoning=recipe.data.targets.think,
                prefilled=recipe.model.prefilled_reasoning,
                settings=settings if recipe.rewards.scheduled else {},
                order=order,
            )
        found = replace(found, skipped=(*cut, *found.skipped))
        console = Console()
        show(found, console if console.is_terminal else Console(width=PIPED))
        for path in write(found, folder):
            print(path)
        lines, leaks = teachers_shown(recipe, overrides, chosen)
        for line in lines:
            print(line)
        return EXIT_CODES["failed"] if leaks and found.status == "passed" else EXIT_CODES[found.status]

    if any(word.startswith("-") for word in words):
        from adhere.train.commands.through_hydra import through_hydra

        codes: list[int] = []
        through_hydra(overrides, lambda recipe, _: codes.append(act(recipe)))
        return max(codes, default=0)
    return act(compose_recipe(overrides))


def teachers_shown(recipe: Recipe, overrides: Sequence[str], items: Sequence[PromptItem]) -> tuple[list[str], bool]:
    """Return a line for each distill stage whose teacher is shown more than the policy, and whether one tells too much.

    Args:
        recipe: what is audited.
        overrides: the command's, to which each stage adds its own.
        items: prompts.
    """
    from adhere.evaluation.audit.teachers import feedback_leaks

    lines, leaks = [], False
    for name, stage in recipe.stages.items():
        if stage.kind != "distill":
            continue
        distill = compose_recipe([*overrides, *stage.overrides]).distill if stage.overrides else recipe.distill
        if distill.context == "solution":
            lines.append(f"{name}: its teacher is shown the solution with the gold answer, as OPSD is meant to be")
        if distill.context != "feedback":
            continue
        found = feedback_leaks(items, distill.sibling)
        leaks |= bool(found)
        line = f"{name}: its feedback tells the gold answer of {len(found) or 'none'} of {len(items)} prompts"
        lines.append(line + (f", first of {found[0][0]}: {found[0][1]!r}; set distill.sibling=safe" if found else ""))
    return lines, leaks


def audited(words: Sequence[str]) -> list[str]:
    """Return the overrides that ``words`` are, with those of ``BARE`` first where they name no recipe.

    Raises:
        ConfigError: a word is not ``key=value``, or has a key that neither the audit nor a recipe has.
    """
    groups = [path.name for path in recipes_folder().iterdir() if path.is_dir()]
    known = [*KEYS, *Recipe.model_fields, *groups, "hydra"]
    flagged = any(word.startswith("-") for word in words)
    for word in words:
        key, equals, _ = word.partition("=")
        # Beside Hydra's flags a bare word may be the value of one, such as --cfg job.
        if not equals and not word.startswith("~") and not flagged:
            raise ConfigError(f"'{word}': write key=value; adhere audit recipe=NAME [prompts=FILE] [items=12]")
        if equals and key.isidentifier() and key not in known:
            raise ConfigError(
                f"{key}: there is no such key{nearest(key, known)}; adhere audit --help lists the audit's"
            )
    return list(words) if any(word.startswith("recipe=") for word in words) else [*BARE, *words]


def sample_items(data: DataConfig, count: int) -> list[PromptItem]:
    """Return ``count`` training items of ``data``, of any length: to count tokens needs a tokenizer."""
    from adhere.prompts.build import build

    few: dict[str, Any] = {"max_prompt_tokens": None, "train_size": count, "decontaminate": False, "evaluation": []}
    return build(data.model_copy(update=few), "train").items
