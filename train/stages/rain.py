"""RAIN merging: a reasoning model learns another one's instruction following, and thinks as it did (arXiv 2602.22538).

θ = θ_R + α·Δ⊥ with Δ = θ_I − θ_base. Each linear map's Δ is projected onto the null space of the inputs that it gets
while the reasoning model thinks, so that what it computes there stays; embeddings, norms, biases and the head are the
reasoning model's. Each attention head then has a scale α of its own.

The paper solves a box-constrained quadratic programme for α on samples of instructions; we know it from a digest. Ours
is its diagonal form: with A the share of Δ's effect on the prompts' tokens that Δ⊥ keeps, and L the share that it still
has on thoughts which the projection has not seen, α maximises αA − ½ρα²L − ½(α − 1)² in [0, 1.5]. Queries and outputs
have the scale of their head, keys and values the mean of the heads that read them, the feed-forward part the layer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from adhere.evaluation.backends.transformers import TransformersGenerator
from adhere.evaluation.generation import Sampling
from adhere.rewards.errors import StageError
from adhere.rewards.segments import THINK_CLOSE
from adhere.train.model.chat import prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.train.config.schema import MergeConfig

LARGEST = 1.5
"""Upper end of a head's scale."""


@dataclass
class Trace:
    """A prompt and the reasoning that the model answered it with: ids (T,), of which the first ``prompt`` ask."""

    ids: list[int]
    prompt: int


@dataclass
class Inputs:
    """What a linear map gets: the second moment (D, D) of its inputs at thinking tokens of the traces that are
    projected out, and inputs (N, D) at the prompts' tokens and at the other traces' thinking tokens."""

    moment: torch.Tensor
    asked: list[torch.Tensor] = field(default_factory=list)
    thought: list[torch.Tensor] = field(default_factory=list)


def draw_traces(
    model: Any, tokenizer: PreTrainedTokenizerBase, items: Sequence[PromptItem], config: MergeConfig, batch_size: int
) -> list[Trace]:
    """Return greedy responses of ``model`` up to the end of their reasoning; those without any are left out.

    Args:
        model: the reasoning model.
        tokenizer: of it.
        items: the prompts.
        config: how long a trace may be.
        batch_size: responses that are generated at once.

    Raises:
        StageError: fewer than two responses have reasoning.
    """
    generator = TransformersGenerator(model, tokenizer, name="rain", batch_size=batch_size)
    sampling = Sampling(0.0, 1.0, config.trace_tokens, 1, 0)
    traces = []
    for item, (drawn,) in zip(items, generator.generate(items, sampling), strict=True):
        head, closed, _ = drawn.text.partition(THINK_CLOSE)
        thought = tokenizer(head + closed, add_special_tokens=False)["input_ids"]
        if closed or drawn.prefilled:
            asked = prompt_ids(tokenizer, item.messages)
            traces.append(Trace([*asked, *thought], len(asked)))
    if len(traces) < 2:
        raise StageError(
            f"merge.method: rain protects reasoning, and {len(traces)} of {len(items)} responses of the first model "
            f"have a finished block of it; name a model that thinks first, or raise merge.trace_tokens"
        )
    return traces


@torch.no_grad()
def gather_inputs(model: Any, traces: Sequence[Trace]) -> dict[str, Inputs]:
    """Return the inputs of every linear map within the layers, by its name.

    Every second trace is kept out of the projection, to see what it leaks.
    """
    head = model.get_output_embeddings()
    maps = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    found = {n: Inputs(torch.zeros(m.in_features, m.in_features, dtype=torch.float64)) for n, m in maps.items()}
    current: list[tuple[int, bool]] = []

    def reader(name: str) -> Any:
        def read(_: Any, arguments: Any) -> None:
            x_T_D, (prompt, projected) = arguments[0][0].double().cpu(), current[0]
            asked, thought = x_T_D[:prompt], x_T_D[prompt:]
            found[name].asked.append(asked)
            if projected:
                found[name].moment += thought.T @ thought
            else:
                found[name].thought.append(thought)

        return read

    hooks = [module.register_forward_pre_hook(reader(name)) for name, module in maps.items()]
    try:
        for i, trace in enumerate(traces):
            current[:] = [(trace.prompt, i % 2 == 0)]
            model(input_ids=torch.tensor([trace.ids], device=model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def null_projected(delta_O_D: torch.Tensor, moment_D_D: torch.Tensor, cut: float) -> torch.Tensor:
    """Return the change of a linear map without its effect on some inputs, (O, D).

    Args:
        delta_O_D: the change.
        moment_D_D: second moment of the inputs, XᵀX.
        cut: directions in which the inputs have less than this share of their largest second moment are free.
    """
    values_D, vectors_D_D = torch.linalg.eigh(moment_D_D)
    free_D_F = vectors_D_D[:, values_D <= cut * values_D[-1].clamp(min=torch.finfo(torch.float64).tiny)]
    return ((delta_O_D.double() @ free_D_F) @ free_D_F.T).to(delta_O_D.dtype)


def head_scales(
    whole_O_D: torch.Tensor, kept_O_D: torch.Tensor, asked_N_D: torch.Tensor, thought_M_D: torch.Tensor,
    heads: int, leak: float,
) -> torch.Tensor:  # fmt: skip
    """Return α of each head, (H,), in [0, 1.5]; 1 for a head that nothing changes.

    Args:
        whole_O_D: the change of a map whose outputs are the heads', one after the other.
        kept_O_D: its projection.
        asked_N_D: inputs at the tokens of prompts.
        thought_M_D: inputs at the tokens of thoughts that were not projected out.
        heads: H.
        leak: ρ, what an effect on thoughts costs.
    """

    def effects(x_N_D: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        whole, kept = ((x_N_D @ w.double().T).view(len(x_N_D), heads, -1) for w in (whole_O_D, kept_O_D))
        return (whole * kept).sum((0, 2)), (kept * kept).sum((0, 2)), (whole * whole).sum((0, 2))

    along, _, size = effects(asked_N_D)
    alignment = torch.where(size > 0, along / size.clamp(min=1e-300), 0.0)
    _, leaked, size = effects(thought_M_D)
    leakage = torch.where(size > 0, leaked / size.clamp(min=1e-300), 0.0)
    scales = ((alignment + 1.0) / (leak * leakage + 1.0)).clamp(0.0, LARGEST)
    return torch.where(along == 0.0, 1.0, scales)


@torch.no_grad()
def add_instructions(
    reasoning: Any, changes: dict[str, torch.Tensor], inputs: dict[str, Inputs], config: MergeConfig
) -> dict[str, float]:
    """Add α·Δ⊥ to the linear maps of ``reasoning``, in place; return what was kept and how it was scaled.

    Args:
        reasoning: the model.
        changes: Δ of each of its linear maps, (O, D), by name.
        inputs: what :func:`gather_inputs` found for them.
        config: cut, leak, weight.
    """
    kept = {name: null_projected(delta, inputs[name].moment, config.cut) for name, delta in changes.items()}
    model_config = reasoning.config.get_text_config()
    heads = model_config.num_attention_heads
    readers = heads // (getattr(model_config, "num_key_value_heads", None) or heads)
    scales: dict[str, torch.Tensor] = {}  # of the heads of each layer, by the name of its attention
    for name in changes:
        layer, _, last = name.rpartition(".")
        if last == "q_proj":
            seen = inputs[name]
            asked, thought = torch.cat(seen.asked), torch.cat(seen.thought)
            scales[layer] = head_scales(changes[name], kept[name], asked, thought, heads, config.leak)
    modules = dict(reasoning.named_modules())
    for name, delta in kept.items():
        layer, _, last = name.rpartition(".")
        of = scales.get(layer)
        if of is None:  # a feed-forward map, beside the attention of its layer
            mean = [s.mean() for other, s in scales.items() if other.rpartition(".")[0] == layer.rpartition(".")[0]]
            scaled = delta * (mean[0] if mean else 1.0)
        elif last == "o_proj":
            # Scaled before it is projected: a scaled column of a projection has an effect on the inputs again.
            whole = changes[name] * of.repeat_interleave(delta.shape[1] // heads).to(changes[name])
            scaled = null_projected(whole, inputs[name].moment, config.cut)
        else:
            own = of if last == "q_proj" else of.view(-1, readers).mean(dim=1)
            scaled = delta * own.repeat_interleave(delta.shape[0] // len(own)).unsqueeze(1)
        modules[name].weight.add_(config.instructions * scaled.to(modules[name].weight))
    sizes = [sum(float(d.double().square().sum()) for d in found.values()) for found in (kept, changes)]
    every = torch.cat(list(scales.values())) if scales else torch.ones(1)
    figures = {"kept": (sizes[0] / sizes[1]) ** 0.5 if sizes[1] else 0.0, "scale_mean": float(every.mean())}
    return figures | {"scale_least": float(every.min()), "scale_most": float(every.max())}
