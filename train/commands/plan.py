"""``adhere plan``: what a recipe would run. No torch."""

from __future__ import annotations


def plan(*words: str) -> int:
    """Show the stages of a recipe, which of them are done, and what would start; nothing is started or written.

    Args:
        words: Hydra's command line, as of adhere train.
    """
    from adhere.train.plan.describe import describe_run
    from adhere.train.run.run import plan_recipe, plan_run

    if any(word.startswith("-") for word in words):
        from adhere.train.commands.through_hydra import through_hydra

        return through_hydra(words, lambda recipe, overrides: print(describe_run(plan_recipe(recipe, overrides))))
    print(describe_run(plan_run(words)))
    return 0
