"""Training items as the trainers take them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from datasets import Dataset

from adhere.prompts.build import build
from adhere.prompts.fingerprint import Role
from adhere.prompts.item import PromptItem, read_items, write_items
from adhere.records.artifact import Artifact
from adhere.rewards.checklist import excluded_programs, shared_sandbox
from adhere.rewards.components import ChecklistComponent
from adhere.rewards.errors import ConfigError, DataError
from adhere.rewards.files import write_json
from adhere.rewards.judge.needs import check_judged
from adhere.train.config.kinds import kind_of
from adhere.train.model.chat import check_template, prompt_ids, prompt_text, target_text
from adhere.train.run.inputs import too_few
from adhere.train.stages.ladder import rungs
from adhere.train.stages.token_credit import contrast_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.train.config.schema import LadderConfig
    from adhere.train.config.stage import StageSpec


def load_items(
    spec: StageSpec,
    artifact: Artifact,
    tokenizer: PreTrainedTokenizerBase,
    role: Role,
    *,
    with_targets: bool = False,
) -> list[PromptItem]:
    """Build the items once per stage, on the first rank; the others, and a resumed attempt, read its file.

    Args:
        spec: the stage.
        artifact: its folder, which gets the file.
        tokenizer: of the model that the stage starts from; its chat template is checked.
        role: which of the recipe's data.
        with_targets: whether each item needs a response to train on.

    Raises:
        ConfigError: the chat template does not fit; GRPO would meet requirements that no component can check.
        DataError: the data cannot be read, or nothing is left of it.
    """
    check_template(tokenizer, prefilled=spec.recipe.model.prefilled_reasoning)
    path = artifact.items(role)
    with PartialState().main_process_first():
        if not path.exists():
            built = build(
                spec.recipe.data,
                role,
                count_tokens=lambda item: prompt_length(tokenizer, item),
                with_targets=with_targets,
            )
            write_json(artifact.data(role), built.report)
            write_items(path, built.items)
    items = read_items(path)
    if role == "train" and any(kind_of(kind).scores for kind in spec.recipe.kinds):
        checklists = [(item.id, item.checklist) for item in items]
        check_judged(spec.recipe.rewards, checklists)
        for component in spec.recipe.rewards.components.values() if kind_of(spec.kind).scores else ():
            if isinstance(component, ChecklistComponent):
                excluded = excluded_programs(checklists, shared_sandbox(component.programs.limits))
                if excluded:
                    shown = "\n".join(f"  {line}" for line in excluded[:20])
                    warnings.warn(f"{len(excluded)} requirements are scored for no response:\n{shown}", stacklevel=1)
    return items


def prompt_length(tokenizer: PreTrainedTokenizerBase, item: PromptItem) -> int:
    """Return the length of the item's prompt as the model sees it."""
    return len(prompt_ids(tokenizer, item.messages))


def sft_dataset(
    items: Sequence[PromptItem], tokenizer: PreTrainedTokenizerBase, max_length: int, *, drop: bool = False
) -> tuple[Dataset, int]:
    """Return rows of ``input_ids`` and ``completion_mask`` (prompt as generated from, target, end token), and a count.

    The count is of the items that are longer than ``max_length`` tokens: with ``drop`` they are left out.

    Raises:
        DataError: an item has no target; one is too long and not to be left out, or all are. Nothing is cut silently.
    """
    rows, over = [], 0
    for item in items:
        before, after = _tokens(item, tokenizer)
        if len(before) + len(after) > max_length:
            over += 1
            if not drop:
                raise DataError(too_long(item, len(before) + len(after), max_length))
            continue
        rows.append({"input_ids": [*before, *after], "completion_mask": [0] * len(before) + [1] * len(after)})
    if not rows:
        raise DataError(f"sft.max_length: each of the {len(items)} items is longer than {max_length} tokens; raise it")
    return Dataset.from_list(rows), over


def sft_lengths(items: Sequence[PromptItem], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, int]]:
    """Return the tokens of each item's prompt, and of its target with the end token.

    Raises:
        DataError: an item has no target.
    """
    return [(len(before), len(after)) for before, after in (_tokens(item, tokenizer) for item in items)]


def too_long(item: PromptItem, tokens: int, max_length: int) -> str:
    """Return the message where an SFT row has more ``tokens`` than ``sft.max_length``."""
    return (
        f"{item.id}: prompt and target are {tokens} tokens, sft.max_length is {max_length}; raise it, or leave such "
        f"rows out by sft.too_long=drop"
    )


def target_too_long(tokens: int, context: int | str) -> str:
    """Return the message where the longest prompt with a target that GRPO imitates has more ``tokens`` than fit."""
    return (
        f"grpo.imitation.weight: the longest prompt and target are {tokens} tokens, and the model's context is "
        f"{context}; leave out sources with such solutions, or set it to 0"
    )


def _tokens(item: PromptItem, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    if item.target is None:
        raise DataError(f"{item.id}: has no SFT target; its source has no worked solution")
    prompt = prompt_text(tokenizer, item.messages)
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    after = tokenizer(target_text(prompt, item.target), add_special_tokens=False)["input_ids"]
    return list(before), [*after, tokenizer.eos_token_id]


def grpo_dataset(
    items: Sequence[PromptItem], prompts: int, against: str | None = None, ladder: LadderConfig | None = None
) -> Dataset:
    """Return rows of ``prompt`` (messages), and the columns that the reward functions and the rollout files read.

    With ``against`` the column ``contrast`` holds, as JSON, the conversation that token credit compares a prompt with;
    with ``ladder`` the column ``rungs`` what differs in each prompt on each rung.

    Raises:
        ConfigError: there are fewer items than a step takes ``prompts``.
    """
    if len(items) < prompts:
        raise ConfigError(too_few(prompts, len(items)))

    def asked(item: PromptItem) -> dict[str, Any]:
        return {
            "prompt": list(item.messages),
            "checklist": json.dumps([requirement.to_dict() for requirement in item.checklist]),
            **({} if against is None else {"contrast": json.dumps(contrast_messages(item, against))}),
        }

    return Dataset.from_list(
        [
            {
                **asked(item),
                "answer": item.answer,
                "item_id": item.id,
                "source": item.source,
                **({} if ladder is None else {"rungs": json.dumps([asked(rung) for rung in rungs(item, ladder)])}),
            }
            for item in items
        ]
    )
