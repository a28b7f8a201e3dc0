"""Teachers of a policy: other models, or a copy of the policy, and which prompt is taught by which.

Teachers with adapters of one base share it in memory. All are asked at the policy's own temperature.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from trl.trainer.utils import add_fused_lm_head

from adhere.rewards.errors import StageError
from adhere.train.model.load import load_for_inference, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.train.config.schema import ModelConfig


def teacher_of(item: PromptItem, routes: Sequence[str]) -> int | None:
    """Return the number of the first of ``routes`` that fits ``item``; ``None`` where none does.

    Args:
        item: a prompt.
        routes: which prompts each teacher gets, as ``distill.routes`` says.
    """
    fits = {
        "all": True,
        "requirements": bool(item.checklist),
        "no_requirements": not item.checklist,
        "answer": item.answer is not None,
        "no_answer": item.answer is None,
        f"source={item.source}": True,
    }
    return next((number for number, route in enumerate(routes) if fits.get(route)), None)


class Teachers:
    """Frozen models in the order of their routes; adapters of one base are one model that switches."""

    def __init__(self, models: Sequence[Any], adapters: Sequence[str | None]) -> None:
        self._models, self._adapters = [*models], [*adapters]

    def __len__(self) -> int:
        return len(self._models)

    @contextmanager
    def asked(self, number: int) -> Iterator[Any]:
        """Give the model of a teacher, ready to score."""
        model, adapter = self._models[number], self._adapters[number]
        if adapter is not None:
            model.set_adapter(adapter)
            model.requires_grad_(False)
        with torch.no_grad():
            yield model


def load_teachers(
    config: ModelConfig,
    paths: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    temperature: float,
    device: torch.device,
) -> Teachers:
    """Load the models at ``paths`` in the type of the arithmetic; a folder may hold an adapter of the recipe's model.

    Args:
        config: the recipe's model.
        paths: folders or hub ids.
        tokenizer: of the policy.
        temperature: what logits are divided by.
        device: where they go.

    Raises:
        ConfigError: there is no model at a path.
        StageError: a teacher has another vocabulary or end token.
    """
    models: list[Any] = []
    adapters: list[str | None] = []
    shared: Any = None
    for number, path in enumerate(paths):
        theirs = load_tokenizer(config.model_copy(update={"chat_template": None, "chat_template_kwargs": {}}), path)
        if theirs.get_vocab() != tokenizer.get_vocab() or theirs.eos_token_id != tokenizer.eos_token_id:
            raise StageError(
                f"teacher {path}: has another tokenizer than the policy, so that their tokens cannot be compared; name "
                f"a teacher of the same family"
            )
        if not (Path(path) / "adapter_config.json").exists():
            model: Any = load_for_inference(config, path)
            add_fused_lm_head(model, temperature=temperature)
            models.append(model)
            adapters.append(None)
            continue
        name = f"teacher{number}"
        if shared is None:
            base = load_for_inference(config, config.path)
            add_fused_lm_head(base, temperature=temperature)
            shared = PeftModel.from_pretrained(base, path, adapter_name=name)
        else:
            shared.load_adapter(path, adapter_name=name)
        models.append(shared)
        adapters.append(name)
    for model in {id(model): model for model in models}.values():
        model.to(device).eval().requires_grad_(False)
    return Teachers(models, adapters)


def copied(model: Any) -> Any:
    """Return a frozen copy of the policy, which answers with its log-probs as the policy does."""
    found = copy.deepcopy(model)
    return found.eval().requires_grad_(False)


@torch.no_grad()
def move_to(weights: Mapping[str, torch.Tensor], policy: Any, share: float) -> None:
    """Move each of ``weights`` by ``share`` of its distance to the weight of ``policy`` that has its name."""
    for name, other in policy.named_parameters():
        if name in weights:
            weights[name].lerp_(other.detach().to(weights[name].dtype), share)
