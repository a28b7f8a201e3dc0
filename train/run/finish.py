"""The end of a run on a cluster, as a job of its own: ``python -m adhere.train.run.finish RUN``. No torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from adhere.evaluation.run import RESULTS
from adhere.records.artifact import Artifact
from adhere.rewards.errors import AdhereError
from adhere.rewards.files import write_json
from adhere.train.config.stage import read_spec
from adhere.train.run.card import write_card
from adhere.train.run.results import Entry, write_results

if TYPE_CHECKING:
    from adhere.train.run.run import Run

ENDING = "ending.json"


def write_ending(run: Run, folder: Path) -> None:
    """Write what the last job needs: the models that are compared, and the command that makes each one again."""
    from adhere.train.run.run import comparison

    entries = [{"name": e.name, "path": str(e.path), "key": e.key} for e in comparison(run)]
    trained = [s for s in run.graph.stages.values() if s.kind != "evaluate"]
    cards = [{"artifact": str(run.artifact(s.key).path), "command": run.command(s.arms[0])} for s in trained]
    content = {"title": run.recipe.name, "entries": entries, "cards": cards}
    write_json(folder / ENDING, content | {"members": run.members, "reference": run.recipe.ablation.reference})


def finish_run(run: Path) -> list[str]:
    """Write comparison and cards of what is done in the run's folder; return the names of models without results."""
    ending = json.loads((run / "slurm" / ENDING).read_text(encoding="utf-8"))
    entries = [Entry(e["name"], Path(e["path"]), e["key"]) for e in ending["entries"]]
    measured = [e for e in entries if (e.path / RESULTS).exists()]
    members = {arm: (point, seed) for arm, (point, seed) in ending["members"].items()}
    table = write_results(run, measured, ending["title"], members, ending["reference"])
    for card in ending["cards"]:
        artifact = Artifact(Path(card["artifact"]))
        if artifact.done and not (artifact.model / "README.md").exists():
            write_card(artifact, read_spec(artifact.spec).recipe, table, card["command"])
    return [e.name for e in entries if e not in measured]


def main() -> int:
    """Finish the run that the only argument names; exit 1 where models have no results."""
    try:
        missing = finish_run(Path(sys.argv[1]))
    except AdhereError as error:
        print(f"adhere: {error}", file=sys.stderr)
        return error.exit_code
    if missing:
        print(f"adhere: without results: {', '.join(missing)}; adhere status {sys.argv[1]} says why", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
