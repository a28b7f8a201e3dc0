"""Merging: one model out of several of equal shape, without training. Tensor by tensor, in float32.

``linear`` is Σ wᵢθᵢ (model soups, arXiv 2203.05482; between a model and what it became, WiSE-FT, arXiv 2109.01903).
``slerp`` goes along the arc between two tensors (Shoemake 1985), which keeps their length where a mean would shrink it.
``rain`` adds what one model learned to another where it does not touch that one's reasoning (``rain.py``).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from adhere.records.artifact import Artifact, Stopped
from adhere.rewards.errors import StageError
from adhere.train.model.handoff import check_tokenizers
from adhere.train.model.load import load_for_inference, load_tokenizer
from adhere.train.stages.data import load_items
from adhere.train.stages.rain import add_instructions, draw_traces, gather_inputs
from adhere.train.stages.setup import manifest

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec

PARALLEL = 1e-4
"""Sine of the angle below which an arc is a line, to the precision of float32."""


def run_merge(spec: StageSpec, artifact: Artifact) -> None:
    """Merge the models of the stage's ``models``; the tokenizer is that of the stage that it starts from."""
    started = time.time()
    paths, config = spec.models["models"], spec.recipe.merge
    weights = config.weights or [1.0 / len(paths)] * len(paths)
    tokenizer = load_tokenizer(spec.recipe.model, spec.model_path)
    for path in paths:
        check_tokenizers(tokenizer, load_tokenizer(spec.recipe.model, path))
    temporary = artifact.path / "model.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    figures: dict[str, float] = {}
    adapters = [(Path(path) / "adapter_config.json").exists() for path in paths]
    if config.method == "rain":
        items = load_items(spec, artifact, tokenizer, "train")[: config.traces]
        merged = load_for_inference(spec.recipe.model, paths[0], torch.float32)
        traces = draw_traces(merged, tokenizer, items, config, spec.recipe.evaluation.batch_size)
        inputs = gather_inputs(merged, traces)
        follows, base = (
            load_for_inference(spec.recipe.model, path, torch.float32).state_dict()
            for path in (paths[1], spec.model_path)
        )
        for path, other in ((paths[1], follows), (spec.model_path, base)):
            _check_shapes(merged.state_dict(), other, paths[0], path)
        changes = {name: follows[f"{name}.weight"] - base[f"{name}.weight"] for name in inputs}
        figures = add_instructions(merged, changes, inputs, config)
        merged.save_pretrained(temporary)
    elif config.method == "linear" and all(adapters):
        _concatenate_adapters(spec, paths, weights, temporary)
    else:
        merged = load_for_inference(spec.recipe.model, paths[0], torch.float32)
        tensors = merged.state_dict()
        if config.method == "linear":
            for tensor in _floating(tensors).values():
                tensor.mul_(weights[0])
        for path, weight in zip(paths[1:], weights[1:], strict=True):
            if artifact.stop.exists():
                raise Stopped(0)
            other = load_for_inference(spec.recipe.model, path, torch.float32).state_dict()
            _check_shapes(tensors, other, paths[0], path)
            for name, tensor in _floating(tensors).items():
                if config.method == "linear":
                    tensor.add_(other[name], alpha=weight)
                else:
                    tensor.copy_(slerp(tensor, other[name], weight))
        merged.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(artifact.model, ignore_errors=True)
    temporary.rename(artifact.model)
    artifact.finish(manifest(spec, started, {"items": 0, "models": paths, "weights": weights, **figures}))


@torch.no_grad()
def slerp(a: torch.Tensor, b: torch.Tensor, share: float) -> torch.Tensor:
    """Return the tensor at ``share`` (0 is ``a``, 1 is ``b``) of the arc between two tensors of equal shape.

    The angle is that between the tensors as flat vectors. Where it is 0 or 180 degrees, or one of them is 0, no arc is
    given and the line between them is taken.
    """
    flat_a, flat_b = a.flatten().double(), b.flatten().double()
    lengths = flat_a.norm() * flat_b.norm()
    cosine = torch.clamp(torch.dot(flat_a, flat_b) / lengths, -1.0, 1.0) if lengths > 0 else torch.ones(())
    angle = torch.arccos(cosine)
    if torch.sin(angle) < PARALLEL:
        return torch.lerp(a, b, share)
    left, right = torch.sin((1.0 - share) * angle), torch.sin(share * angle)
    return ((left * flat_a + right * flat_b) / torch.sin(angle)).to(a.dtype).view_as(a)


def _floating(tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the weights once each: tied ones share their memory, and would be merged twice."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            found[name] = tensor
    return found


def _check_shapes(first: dict[str, Any], other: dict[str, Any], path: str, other_path: str) -> None:
    wrong = [n for n in {*first, *other} if n not in first or n not in other or first[n].shape != other[n].shape]
    if wrong:
        raise StageError(f"merge: {path} and {other_path} are not of one shape; a tensor that differs: {wrong[0]}")


def _concatenate_adapters(spec: StageSpec, paths: list[str], weights: list[float], folder: Path) -> None:
    """Write one adapter whose update is Σ wᵢBᵢAᵢ exactly: the ranks stand side by side, so they add up."""
    from peft import PeftModel

    recipe = spec.recipe.model
    # PEFT cuts an adapter's name out of its tensors' names, so a name must not occur in those: "0" is a layer's.
    names = [f"adapter_{i}" for i in range(len(paths))]
    base = load_for_inference(recipe, recipe.path, torch.float32)
    model = PeftModel.from_pretrained(base, paths[0], adapter_name=names[0])
    for name, path in zip(names[1:], paths[1:], strict=True):
        model.load_adapter(path, adapter_name=name)
    model.add_weighted_adapter(names, weights, "merged", combination_type="cat")
    model.set_adapter("merged")
    model.save_pretrained(str(folder), selected_adapters=["merged"])
    for file in (folder / "merged").iterdir():
        file.rename(folder / file.name)
    (folder / "merged").rmdir()
