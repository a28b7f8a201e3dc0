"""The end of a run: the comparison of its models and their cards, from its folder alone. No torch.

The driver calls it when the last stage is done; on a cluster it is the last job: ``python -m adhere.train.run.finish
RUN``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adhere.evaluation.ablation.analysis import MARGIN
from adhere.records.run import RunFolder, as_run
from adhere.rewards.errors import AdhereError
from adhere.train.config.stage import read_spec
from adhere.train.run.card import write_card
from adhere.train.run.method_table import write_methods
from adhere.train.run.results import EvaluatedModel, comparable, joint_differences, write_run_results


def finish(run: RunFolder) -> list[str]:
    """Compare the models that are evaluated, and write a card beside all trained weights that have none.

    Returns:
        The names of the models without results.

    Raises:
        DataError: the plan or a result is damaged.
    """
    plan, recipe = run.plan(), run.recipe()
    models = [(model.name, run.artifact(plan.stage(model.key)), model.evaluation) for model in plan.models]
    measured = [found for found in models if found[1].results.exists()]
    entries = [EvaluatedModel(name, artifact.path, stage) for name, artifact, stage in measured]
    ablation, title = recipe.get("ablation", {}), str(recipe.get("name", run.path.name))
    compared_with, margin = ablation.get("reference"), float(ablation.get("margin", MARGIN))
    table = write_run_results(run.path, entries, title, plan.points, compared_with, margin)
    if measured and ablation.get("method"):
        sources = read_spec(measured[-1][1].spec).recipe.data.evaluation
        write_methods(run, [source.source for source in sources if source.held_out])
    trained = [(stage, run.artifact(stage)) for stage in plan.stages]
    bare = [(s, made) for s, made in trained if made.done and made.model.is_dir() and not made.card.exists()]
    differences = joint_differences(comparable(entries)[-1]) if bare and entries and not plan.points else []
    for stage, artifact in bare:
        write_card(artifact, read_spec(artifact.spec).recipe, table, stage.command, differences)
    return [name for name, artifact, _ in models if not artifact.results.exists()]


def main() -> int:
    """Finish the run that the only argument names; exit 1 where models have no results."""
    try:
        missing = finish(as_run(Path(sys.argv[1])))
    except AdhereError as error:
        print(f"adhere: {error}", file=sys.stderr)
        return error.exit_code
    if missing:
        print(f"adhere: without results: {', '.join(missing)}; adhere status {sys.argv[1]} says why", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
