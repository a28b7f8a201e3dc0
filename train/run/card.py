"""The model card: what a model was trained on, for what reward, what came out, and how to make it again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from adhere.records.artifact import Artifact
from adhere.rewards.files import write_text
from adhere.rewards.schedules import weight_text
from adhere.train.config.named_stages import ON_POLICY

if TYPE_CHECKING:
    from adhere.train.config.schema import Recipe

CARD = """\
---
library_name: transformers
{base}tags: [adhere, {kind}]
---

# {title}

Made by the stage `{label}` of the adhere recipe `{recipe}`, from {origin}.

## Reward

{reward}

## Results

{table}
{differences}Accuracy is a correct final answer; HAcc all constraints of the prompt met; SAcc the mean share met; joint
is correct *and* all met. Lines in italics are trivial floors.

## Make it again

```
{command}
```

Seed {seed}, {items} training items, stage key `{key}`. Equal settings, inputs and data have an equal key.

Versions: {versions}.

<details><summary>Recipe</summary>

```yaml
{config}```

</details>
"""


def hub_id(path: str) -> str | None:
    """Return what the hub calls the model that a recipe names; ``None`` for a folder of this machine's own.

    A folder of the hub's cache is the model that it was fetched from.
    """
    cached = re.search(r"(?:^|/)models--([\w.-]+?)--([\w.-]+)/snapshots/", path)
    if cached is not None:
        return f"{cached[1]}/{cached[2]}"
    named = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", path) is not None
    return path if named and not Path(path).exists() else None


def write_card(artifact: Artifact, recipe: Recipe, table: Path, command: str, differences: Sequence[str] = ()) -> None:
    """Write ``README.md`` beside the weights of a finished ``artifact``.

    ``table`` is the run's comparison, if there is one; ``differences`` say what lies between its models, with
    intervals; ``command`` makes the model again.
    """
    made = artifact.manifest()
    components = "\n".join(
        f"- `{name}` ({c.kind}): weight {weight_text(c.weight)}"
        + (f", counted only where `{gate}` passed" if (gate := recipe.rewards.gate_of(name)) else "")
        for name, c in recipe.rewards.components.items()
    )
    rewarded = made["kind"] in ON_POLICY
    reward = f"`{recipe.rewards.aggregation}` of\n\n{components}" if rewarded else "None: supervised targets."
    base = hub_id(recipe.model.path)
    text = CARD.format(
        base="" if base is None else f"base_model: {base}\n",
        origin=f"the local model `{Path(recipe.model.path).name}`" if base is None else f"`{base}`",
        kind=made["kind"],
        title=f"{recipe.name}: {made['label']}",
        label=made["label"],
        recipe=recipe.name,
        reward=reward,
        table=table.read_text(encoding="utf-8") if table.exists() else "Not evaluated.\n",
        differences="".join(f"- {line}\n" for line in differences) + ("\n" if differences else ""),
        command=command,
        seed=made["seed"],
        items=made["items"],
        key=made["key"][:12],
        versions=", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        config=yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )
    write_text(artifact.card, text)
