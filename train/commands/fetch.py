"""``adhere fetch``: a recipe's models and data sets, from the hub into the local cache. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adhere.rewards.errors import ConfigError

if TYPE_CHECKING:
    from adhere.train.run.run import Run


def fetch(*words: str) -> int:
    """Bring the models and data sets of a recipe from the hub into the local cache, and pin their commits into its run.

    Args:
        words: Hydra's command line, as of adhere train.
    """
    from adhere.train.run.run import plan_recipe, plan_run

    if any(word.startswith("-") for word in words):
        from adhere.train.commands.through_hydra import through_hydra

        return through_hydra(words, lambda recipe, overrides: bring(plan_recipe(recipe, overrides)))
    bring(plan_run(words))
    return 0


def bring(run: Run) -> None:
    """Fetch what ``run`` takes from the hub; commits that are pinned already stay.

    Raises:
        ConfigError: the hub cannot be reached, or has no such repository or revision.
    """
    from huggingface_hub.errors import HfHubHTTPError

    from adhere.records.run import RunFolder
    from adhere.train.run import hub

    folder = RunFolder(run.path)
    items = hub.hub_items((stage.kind, stage.recipe) for stage in run.graph.stages.values())
    known = hub.pins(folder)
    for item in items:
        try:
            commit = hub.fetch(item, known.get(item.name))
        except (HfHubHTTPError, OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConfigError(
                f"{item.key}: '{item.id}' cannot be fetched ({first}); run this where the hub can be reached, "
                f"without HF_HUB_OFFLINE"
            ) from error
        hub.pin(folder, {item.name: commit})
        print(f"  fetched  {item.kind:<8} {item.id:<40} {commit[:12]}", flush=True)
    if not items:
        print("nothing to fetch: the recipe's models and data are on this machine")
    else:
        print(f"pinned in {folder.hub_file}")
