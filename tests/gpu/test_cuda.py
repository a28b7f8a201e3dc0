"""What only a GPU shows: bfloat16 arithmetic on float32 weights, memory, and a stop that goes on.

They need a CUDA device. ``ADHERE_GPU_TESTS=cpu python -m pytest tests/gpu`` tries them out without one.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from attempts import logged, prepare, step_by_step, whole
from safetensors.torch import load_file

from adhere.train.config.stage import read_spec
from adhere.train.plan.architecture import read_architecture
from adhere.train.plan.memory import stage_memory

DEVICE = os.environ.get("ADHERE_GPU_TESTS", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"),
]
HERE = [f"launcher.device={DEVICE}", "model.dtype=bfloat16"]
LEARNS = ["grpo.learning_rate=1e-3", "rewards.components.checklist.gate=null", "grpo.max_steps=3", "grpo.temperature=2"]
LORA = ["model.adapter.kind=lora", "model.adapter.rank=4"]


@pytest.mark.parametrize("adapter", [[], LORA], ids=["full", "lora"])
def test_sft_then_grpo_in_bfloat16_learn_and_keep_float32_weights(tmp_path: Path, adapter: list[str]) -> None:
    sft = prepare(tmp_path / "sft", *HERE, *adapter, "stages=[sft]", "sft.max_steps=3", "sft.learning_rate=1e-5")
    whole(sft)
    grpo = prepare(tmp_path / "grpo", *HERE, *adapter, *LEARNS, "stages=[grpo]", model=sft.path)
    whole(grpo)
    for artifact in (sft, grpo):
        rows = [row for row in logged(artifact) if "loss" in row]
        assert rows and all(math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"]) for row in rows)
        (file,) = artifact.model.glob("*model.safetensors")
        weights = load_file(file)
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        assert all(tensor.isfinite().all() for tensor in weights.values())
    (before,), (after,) = (list(artifact.model.glob("*model.safetensors")) for artifact in (sft, grpo))
    first, last = load_file(before), load_file(after)
    assert any(not torch.equal(first[name], last[name]) for name in first), "GRPO changed nothing"


def test_a_stopped_stage_goes_on_to_nearly_the_same_weights(tmp_path: Path) -> None:
    """Kernels of a GPU may add in another order, so that equality to the bit is promised on a CPU only."""
    one, other = (prepare(tmp_path / name, *HERE, *LEARNS, "stages=[grpo]") for name in ("whole", "steps"))
    whole(one)
    assert step_by_step(other) == [1, 2]
    a, b = (load_file(next(artifact.model.glob("*model.safetensors"))) for artifact in (one, other))
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-2


@pytest.mark.skipif(DEVICE != "cuda", reason="measures the memory of a CUDA device")
def test_a_training_step_allocates_what_was_estimated(tmp_path: Path) -> None:
    grpo = prepare(tmp_path, *HERE, "stages=[grpo]", "grpo.max_steps=2", "grpo.per_device_batch_size=64")
    recipe = read_spec(grpo.spec).recipe
    torch.cuda.reset_peak_memory_stats()
    whole(grpo)
    expected = stage_memory(recipe, "grpo", read_architecture(recipe.model)).peak.total
    assert 0.5 < torch.cuda.max_memory_allocated() / expected < 1.5
