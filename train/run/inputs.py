"""What the stages of a run read, looked at before anything starts: the rows of their files. No torch.

A bad row would otherwise show when its stage begins, which may be hours later.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adhere.prompts.config import SourceConfig
from adhere.prompts.sources import PromptStyle, check_rows
from adhere.rewards.errors import AdhereError
from adhere.train.config.kinds import kind_of
from adhere.train.config.named_stages import ON_POLICY
from adhere.train.run.graph import PlannedStage

FIRST_ROWS = 64
"""Rows of a large file that are read."""

SMALL = 8 * 2**20
"""Bytes up to which a file is read as a whole."""


def data_problems(stages: Sequence[PlannedStage], *, whole: bool = False) -> list[str]:
    """Return what is wrong with the files that ``stages`` read, each with the stage, the file and the row.

    The first rows of each file are read, small files as a whole: each has to be what it should be and to name known
    constraints, and there have to be enough for a step. What generators and the hub give is read by a worker alone.

    Args:
        stages: those that are still to run.
        whole: whether large files are read as a whole, too.
    """
    problems: dict[str, str] = {}
    read: dict[str, int | None] = {}
    for stage in stages:
        recipe, role = stage.recipe, kind_of(stage.kind).data
        if role is None:
            continue
        data, evaluation = recipe.data, recipe.evaluation
        style = PromptStyle(data.system_prompt, data.answer_instruction)
        sources = data.train if role == "train" else data.evaluation
        if role == "evaluation" and (evaluation.suite != "prompts" or evaluation.path is not None):
            sources, style = [], PromptStyle()
            if evaluation.suite == "prompts":
                sources = [SourceConfig.model_validate({"path": evaluation.path})]
        supply: int | None = 0
        for source in sources:
            count, key = source.size, f"{source.model_dump_json()} {style}"
            if source.path is not None and key not in read:
                path = Path(source.path)
                large = not whole and path.is_file() and path.stat().st_size > SMALL
                try:
                    read[key] = check_rows(source, style, FIRST_ROWS if large else None)
                except AdhereError as error:
                    problems.setdefault(str(error), stage.label)
                    read[key] = None
            count = read.get(key, count)
            supply = None if supply is None or count is None else supply + count
        if stage.kind not in ON_POLICY:
            continue
        known = [number for number in (supply, data.train_size) if number]
        prompts = recipe.completions_per_step // recipe.grpo.group_size
        if known and min(known) < prompts:
            problems.setdefault(too_few(prompts, min(known)), stage.label)
    return [f"{label}: {text}" for text, label in problems.items()]


def too_few(prompts: int, items: int) -> str:
    """Return the message where there are fewer ``items`` than the ``prompts`` that a step of GRPO takes."""
    return (
        f"grpo.per_device_batch_size: a step takes {prompts} prompts, but there are {items} training items, so none "
        f"would be trained on; lower it, or add data"
    )
