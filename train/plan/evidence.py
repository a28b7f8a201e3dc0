"""How small a difference between a run's models its prompts and seeds can show. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adhere.evaluation.ablation.power import BETWEEN_RUNS, POWER, resolution
from adhere.evaluation.ablation.words import CAUTIONS
from adhere.evaluation.suites import SUITES
from adhere.train.plan.history import History
from adhere.train.run.graph import compared

if TYPE_CHECKING:
    from adhere.train.config.schema import Recipe
    from adhere.train.run.run import Run

NEEDED = 3
"""Seeds that an ablation should have: two say how much runs vary by one difference alone."""


def evidence_lines(run: Run) -> list[str]:
    """Return what each evaluation of the run can tell apart; nothing where no models are compared."""
    config = run.recipe.ablation
    seeds = len(config.seeds) if run.members else 1
    arms: dict[str, dict[str, Recipe]] = {}
    for name, evaluation in compared(run.graph):
        model = name.removeprefix(f"{evaluation.stage}: ")
        point = run.members[model][0] if model in run.members else model
        arms.setdefault(evaluation.stage, {})[point] = run.graph.stages[evaluation.key].recipe
    lines = []
    for stage, found in arms.items():
        if len(found) < 2:
            continue
        prompts = prompts_of(next(iter(found.values())), History(run.root))
        asked = "an unknown number of prompts" if prompts is None else f"{prompts} prompts"
        several = f"{stage}, " if len(arms) > 1 else ""
        title = f"{several}{len(found)} models, {seeds} {'seed' if seeds == 1 else 'seeds'}, {asked}"
        if seeds < 2:
            more = "ablation.seeds=[0,1,2]" if run.members else "adhere ablate … seeds=[0,1,2]"
            lines.append(f"{title}: no difference will be called better or worse; {more} has three")
            continue
        counts = [(prompts, "")] if prompts is not None else [(n, f" on {n:,} prompts") for n in (100, 1000)]
        for count, where in counts:
            steady, loose = (resolution(count, seeds, len(found), between) for between in BETWEEN_RUNS)
            lines.append(
                f"{title}: {100 * POWER:.0f} % sure to find a difference{where} of {100 * steady.detectable:.1f} "
                f"points where a model's runs vary by {100 * BETWEEN_RUNS[0]:.0f} point, of "
                f"{100 * loose.detectable:.1f} by {100 * BETWEEN_RUNS[1]:.0f}"
            )
            if 100 * steady.half > config.margin:
                lines.append(
                    f"a loss of accuracy of {config.margin:g} points (ablation.margin) cannot be excluded{where}: ± is "
                    f"{100 * steady.half:.1f} points or more"
                )
    shown = [f"{'detect' if place == 0 else '':<8} {line}" for place, line in enumerate(lines)]
    return [*shown, *seed_warnings(run)]


def seed_warnings(run: Run) -> list[str]:
    """Return a warning where an ablation has too few seeds to claim what it is run for."""
    seeds = len(run.recipe.ablation.seeds) if run.members else NEEDED
    return [] if seeds >= NEEDED else [f"warning: ablation.seeds: {CAUTIONS[seeds]}"]


def prompts_of(recipe: Recipe, history: History) -> int | None:
    """Return how many prompts an evaluation asks: as an earlier one did, or as its sources and files say."""
    config, data = recipe.evaluation, recipe.data
    known = history.items("evaluate", recipe)
    if known is None:
        own = config.suite == "prompts" and config.path is None
        files: list[Path | None] = (
            [None if source.path is None else Path(source.path) for source in data.evaluation]
            if own
            else [*SUITES[config.suite].files(config.source)]
        )
        counts: list[int | None] = [source.size for source in data.evaluation] if own else [None for _ in files]
        for place, file in enumerate(files):
            if file is not None and counts[place] is None and file.suffix == ".jsonl" and file.is_file():
                with file.open("rb") as lines:
                    counts[place] = sum(bool(line.strip()) for line in lines)
        sized = [count for count in counts if count is not None]
        known = sum(sized) if sized and len(sized) == len(counts) else None
        if own and data.evaluation_size is not None:
            known = min(known or data.evaluation_size, data.evaluation_size)
    return known if known is None or config.limit is None else min(known, config.limit)
