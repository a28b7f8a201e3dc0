"""``adhere plan --check``: all data of a run, built as its workers build it, and measured in the model's tokens.

Nothing is written. The model's tokenizer is loaded, its weights are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from adhere.evaluation.suites import SUITES
from adhere.prompts.build import build
from adhere.rewards.errors import AdhereError
from adhere.rewards.judge.needs import check_judged
from adhere.train.config.kinds import kind_of
from adhere.train.config.model_files import context_of
from adhere.train.config.named_stages import ON_POLICY
from adhere.train.config.schema import ModelConfig
from adhere.train.model.chat import check_template
from adhere.train.model.load import load_tokenizer
from adhere.train.run.inputs import too_few
from adhere.train.stages.data import prompt_length, sft_lengths, target_too_long, too_long

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.train.run.graph import PlannedStage


def check_data(stages: Sequence[PlannedStage]) -> tuple[list[str], list[str]]:
    """Build the items of every stage; return a line for each different set of them, and what is wrong with any.

    Args:
        stages: those that are still to run.
    """

    @cache
    def tokenizer_of(model: str) -> PreTrainedTokenizerBase:
        config = ModelConfig.model_validate_json(model)
        tokenizer = load_tokenizer(config, config.path)
        check_template(tokenizer, prefilled=config.prefilled_reasoning)
        return tokenizer

    lines: dict[str, str] = {}
    problems: dict[str, str] = {}
    for stage in stages:
        if kind_of(stage.kind).data is None:
            continue
        try:
            line, found = _check(stage, tokenizer_of(stage.recipe.model.model_dump_json()))
        except AdhereError as error:
            problems.setdefault(str(error), stage.label)
            continue
        lines.setdefault(line, stage.label)
        for text in found:
            problems.setdefault(text, stage.label)
    return (
        [f"{label}: {line}" for line, label in lines.items()],
        [f"{label}: {text}" for text, label in problems.items()],
    )


def _check(stage: PlannedStage, tokenizer: PreTrainedTokenizerBase) -> tuple[str, list[str]]:
    recipe, role = stage.recipe, kind_of(stage.kind).data
    assert role is not None

    imitates = stage.kind in ON_POLICY and recipe.grpo.imitation.weight > 0.0

    def built() -> list[PromptItem]:
        targets = stage.kind == "sft" or imitates
        count = lambda item: prompt_length(tokenizer, item)  # noqa: E731 - what the worker passes, too
        return build(recipe.data, role, count_tokens=count, with_targets=targets).items

    context, problems = context_of(recipe.model), list[str]()
    if role == "evaluation":
        evaluation = recipe.evaluation
        source = replace(evaluation.source, recipe_items=built, limit=None)
        items = list(SUITES[evaluation.suite].load(source).items)
    else:
        items = built()
    lengths = [prompt_length(tokenizer, item) for item in items]
    line = f"{len(items)} items, prompts of up to {max(lengths)} tokens"
    if stage.kind == "sft":
        limit = recipe.sft.max_length
        rows = [sum(found) for found in sft_lengths(items, tokenizer)]
        over = [item for item, length in zip(items, rows, strict=True) if length > limit]
        line += f", with targets up to {max(rows)}"
        if over:
            line += f"; {len(over)} are longer than sft.max_length {limit}"
            if recipe.sft.too_long == "error":
                problems.append(too_long(over[0], next(length for length in rows if length > limit), limit))
            elif len(over) == len(items):
                problems.append(f"sft.max_length: each of the {len(items)} items is longer than {limit}; raise it")
    elif stage.kind in ON_POLICY:
        check_judged(recipe.rewards, [(item.id, item.checklist) for item in items])
        prompts, room = recipe.completions_per_step // recipe.grpo.group_size, recipe.grpo.max_completion_length
        if len(items) < prompts:
            problems.append(too_few(prompts, len(items)))
        if context is not None and max(lengths) + room > context:
            problems.append(
                f"grpo.max_completion_length: {room} and the longest prompt, {max(lengths)} tokens, exceed the model's "
                f"context of {context}; lower it, or set data.max_prompt_tokens"
            )
        if imitates and context is not None and (longest := max(map(sum, sft_lengths(items, tokenizer)))) > context:
            problems.append(target_too_long(longest, context))
    elif role == "evaluation" and context is not None:
        room = recipe.evaluation.sampling.max_new_tokens
        if over_context := sum(length + room > context for length in lengths):
            line += f"; {over_context} do not fit into the context of {context} with {room} new tokens: skipped"
            if over_context == len(items):
                problems.append(f"evaluation.sampling.max_new_tokens: {room} leaves no prompt room in {context} tokens")
    return line, problems
