"""``adhere rehearse``: would this reward teach? Groups of the policy that GRPO would start from, scored."""

from __future__ import annotations


def rehearse(*words: str) -> int:
    """Draw groups from the policy that GRPO would start from, and say what they would teach under this reward.

    Stages before it that are not done are run first. A second look at the same recipe is free.

    Args:
        words: [STAGE] where the recipe has several, such as composite or grpo[composite]; then Hydra's command line.
    """
    from rich.console import Console

    from adhere.evaluation.rehearsal.table import show
    from adhere.records.artifact import REHEARSAL
    from adhere.records.objects import read_object
    from adhere.rewards.errors import ConfigError
    from adhere.train.commands.train import start
    from adhere.train.run.run import plan_rehearsal

    stage = words[0] if words and "=" not in words[0] and words[0][:1] not in "-+~" else None
    overrides = words if stage is None else words[1:]
    if bare := [word for word in overrides if "=" not in word and word[:1] != "~"]:
        raise ConfigError(f"'{bare[0]}': name one stage at most, then write key=value")
    run = plan_rehearsal(overrides, stage)
    code = start(run)
    console = Console()
    console = console if console.is_terminal else Console(width=PIPED)
    for planned in run.graph.stages.values():
        artifact = run.artifact(planned.key)
        if planned.kind == "rehearse" and artifact.done:
            path = artifact.path / REHEARSAL
            show(read_object(path), planned.label, console)
            print(path)
    return code


PIPED = 120
"""Columns of the tables where they do not go to a terminal."""
