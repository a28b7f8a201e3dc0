"""Whether the ranks that the plan promised are one job, and share the model as it says.

Several launch combinations silently train lone copies, each with a world of one, or fall back from FSDP or DeepSpeed to
DDP. Both are looked for: before anything loads, and again once the trainer has wrapped the model.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from accelerate import DistributedType, PartialState
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adhere.rewards.errors import StageError

if TYPE_CHECKING:
    from adhere.train.config.schema import LauncherConfig
    from adhere.train.config.stage import StageSpec

PROMISED = {
    "single": {DistributedType.NO},
    "ddp": {DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU},
    # accelerate calls it FSDP only once the trainer's Accelerator is there; check_wrapped looks again.
    "fsdp2": {DistributedType.MULTI_GPU, DistributedType.MULTI_CPU},
    "zero2": {DistributedType.DEEPSPEED},
    "zero3": {DistributedType.DEEPSPEED},
}


def on_cpu(launcher: LauncherConfig) -> bool:
    """Whether the stage runs on the CPU: because it was told to, or because there is no GPU."""
    return launcher.device == "cpu" or not torch.cuda.is_available()


def device_arguments(launcher: LauncherConfig, *, cpu: bool) -> dict[str, Any]:
    """Return the trainer's arguments for its device: DeepSpeed on the CPU is gloo, and not accelerate's CPU mode."""
    if cpu and launcher.strategy.startswith("zero"):
        return {"ddp_backend": "gloo"}
    return {"use_cpu": cpu}


def check_world(spec: StageSpec) -> None:
    """Check that the ranks which the plan promised are really one job.

    Raises:
        StageError: the world size or the distributed type is not the promised one.
    """
    launcher = spec.recipe.launcher
    state = _state(launcher)
    expected = launcher.processes
    if state.num_processes != expected:
        raise StageError(
            f"the plan promised {expected} ranks, but this is rank {state.process_index} of {state.num_processes}"
        )
    kind = state.distributed_type
    if kind not in PROMISED[launcher.strategy] or (expected > 1 and kind is DistributedType.NO):
        raise StageError(
            f"the plan promised strategy '{launcher.strategy}', but accelerate runs {kind.value}; use ddp on a CPU"
        )


def _state(launcher: LauncherConfig) -> PartialState:
    """Make the first PartialState, which decides the back end of all."""
    if not on_cpu(launcher):
        return PartialState()
    if not launcher.strategy.startswith("zero"):
        # Without cpu=True two CPU ranks become two worlds of one.
        return PartialState(cpu=True)
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed.ops

    # Its shared-memory collectives take minutes to compile, and serve inference; gloo does the training's.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return PartialState(backend="gloo")


class _CheckWrapped(TrainerCallback):
    def __init__(self, trainer: Trainer, launcher: LauncherConfig) -> None:
        self._trainer, self._launcher = trainer, launcher

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        found = sharing(self._trainer.model_wrapped)
        promised = self._launcher.strategy
        if promised == "ddp" and self._launcher.processes == 1:
            promised = "single"
        if found != promised:
            raise StageError(
                f"the plan promised strategy '{promised}', but the trainer shares the model by '{found}'; "
                + ("let the process see one GPU" if found == "dp" else "on a CPU use ddp, zero2 or zero3")
            )


def check_wrapped(trainer: Trainer, spec: StageSpec) -> None:
    """Have training stop, with a StageError, where the wrapped model is not what the strategy promises."""
    trainer.add_callback(_CheckWrapped(trainer, spec.recipe.launcher))


def sharing(model: Any) -> str:
    """Return the name of the strategy by which ``model``, as the trainer has wrapped it, is shared among ranks."""
    if type(model).__name__ == "DeepSpeedEngine":
        return f"zero{model.zero_optimization_stage()}"
    if isinstance(model, DistributedDataParallel):
        return "ddp"
    if isinstance(model, torch.nn.DataParallel):
        return "dp"
    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return "fsdp2"
    return "single"
