"""The exponential moving average of the weights while they are trained, which a stage may hand over.

After each optimizer step θ̄ ← d·θ̄ + (1 − d)·θ, from the weights that training starts from; d is the stage's ``ema``.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class WeightAverage(TrainerCallback):
    """Keeps the average of the trained weights, by name; each rank keeps the same one."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.weights:  # a checkpoint brings its own
            self.weights = {name: weight.detach().clone() for name, weight in _trained(kwargs["model"])}

    @torch.no_grad()
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for name, weight in _trained(kwargs["model"]):
            self.weights[name].lerp_(weight, 1.0 - self._decay)

    @torch.no_grad()
    def load_into(self, model: torch.nn.Module) -> None:
        """Set the trained weights of ``model`` to the average."""
        for name, weight in _trained(model):
            weight.copy_(self.weights[name])


def _trained(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name.removeprefix("module."), weight) for name, weight in model.named_parameters() if weight.requires_grad]
