"""``adhere plan``: what a recipe would run. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adhere.train.run.run import Run


def plan(*words: str) -> int:
    """Show the stages of a recipe, which of them are done, and what would start; nothing is started or written.

    Exit 1 where a file that a stage reads cannot be used.

    Args:
        words: Hydra's command line, as of adhere train; --check builds all data, and counts its tokens.
    """
    from adhere.train.run.run import plan_recipe, plan_run

    check, words = "--check" in words, tuple(word for word in words if word != "--check")
    if any(word.startswith("-") for word in words):
        from adhere.train.commands.through_hydra import through_hydra

        codes: list[int] = []
        through_hydra(words, lambda recipe, given: codes.append(show(plan_recipe(recipe, given), check=check)))
        return max(codes, default=0)
    return show(plan_run(words), check=check)


def show(run: Run, *, check: bool) -> int:
    """Print the plan, and what is wrong with the data; with ``check`` all of it is read. Return the exit code."""
    from adhere.records.state import State
    from adhere.train.plan.describe import describe_run, standings_of
    from adhere.train.run.graph import order
    from adhere.train.run.inputs import data_problems

    standings = standings_of(run)
    print(describe_run(run, standings))
    waiting = [stage for stage in order(run.graph) if standings[stage.key].state is not State.DONE]
    problems = data_problems(waiting, whole=check)
    if check and not problems:
        from adhere.train.stages.check import check_data

        lines, problems = check_data(waiting)
        print("\n".join(["", *(f"data     {line}" for line in lines)]))
    for problem in problems:
        print(f"error: {problem}")
    if problems:
        print("adhere train would stop there")
    return 1 if problems else 0
