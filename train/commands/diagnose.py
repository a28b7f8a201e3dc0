"""``adhere diagnose``: why a model loses its instructions while it reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from adhere.rewards.errors import ConfigError
from adhere.train.commands.words import WHOLE, load_named


def diagnose(
    model: str,
    /,
    *,
    against: str | None = None,
    prompts: Path | None = None,
    items: Annotated[int, WHOLE] = 32,
    only: str | None = None,
    max_new_tokens: Annotated[int, WHOLE] = 512,
    batch_size: Annotated[int, WHOLE] = 16,
    device: str = "auto",
    to: Path = Path("diagnostics"),
    plugins: str | None = None,
) -> int:
    """Diagnose a model: constraint attention, and what its reasoning and its instructions do.

    Args:
        model: A model folder or a hub id.
        against: The model that it was tuned from; it is diagnosed on the same prompts.
        prompts: A file of prompt items; without one, sums with constraints.
        items: Prompts to take, evenly spread over the file.
        only: [attention,...]: the diagnostics to run; all where left out.
        max_new_tokens: Length limit of a response in tokens.
        batch_size: Prompts that are generated together.
        device: auto, cpu, cuda or cuda:N.
        to: Folder of diagnostics.json.
        plugins: [my_lab.rewards]: modules to import first.
    """
    from rich.console import Console

    from adhere.evaluation.backends.transformers import TransformersGenerator
    from adhere.evaluation.diagnostics import Subject, check_names
    from adhere.evaluation.diagnostics import diagnose as run
    from adhere.evaluation.diagnostics.table import tables
    from adhere.prompts.build import build
    from adhere.prompts.item import read_items
    from adhere.rewards.files import write_json
    from adhere.train.config.compose import compose_recipe
    from adhere.train.model.quiet import quiet_libraries

    quiet_libraries()
    load_named(plugins)
    for key, value in {"items": items, "max_new_tokens": max_new_tokens, "batch_size": batch_size}.items():
        if value < 1:
            raise ConfigError(f"{key}: {value} is below 1; give a number of at least 1")
    found = None if prompts is None else read_items(prompts)
    names = None if only is None else [name.strip() for name in only.strip("[]").split(",")]
    check_names(names)

    def load(path: str) -> Subject:
        return Subject(TransformersGenerator.load(path, batch_size=batch_size, device=device), max_new_tokens)

    subject = load(model)
    if found is None:
        data = compose_recipe(["recipe=evaluate", f"model.path={model}", f"data.evaluation_size={items}"]).data
        found = build(
            data, "evaluation", count_tokens=lambda item: len(subject.ids(subject.prompt(item.messages)))
        ).items
    count = min(items, len(found))
    chosen = [found[i * len(found) // count] for i in range(count)]
    base = None if against is None else load(against)
    results = run(subject, chosen, base, names, lambda name: print(f"  {name}", flush=True))
    to.mkdir(parents=True, exist_ok=True)
    write_json(to / "diagnostics.json", results)
    console = Console()
    for table in tables(results):
        console.print(table)
    print(f"all figures: {to / 'diagnostics.json'}")
    return 0
