"""The model card: what a model was trained on, for what reward, what came out, and how to make it again."""

from __future__ import annotations

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
base_model: {base}
tags: [adhere, {kind}]
---

# {title}

Made by the stage `{label}` of the adhere recipe `{recipe}`, from `{base}`.

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
    text = CARD.format(
        base=recipe.model.path,
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
