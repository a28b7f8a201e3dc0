"""Constraint attention: how much a model looks at the constraints while it reasons and answers (arXiv 2505.11423).

Shapes: B sequences (one), H heads, T tokens, R rows (decoding steps), C constraint tokens, P prompt tokens, L layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from adhere.evaluation.diagnostics.estimates import real_estimate
from adhere.evaluation.diagnostics.subject import Subject, Transcript
from adhere.evaluation.generation import Start
from adhere.evaluation.statistics import Bootstrap, mean_of_scored
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError, DataError
from adhere.rewards.segments import THINK_CLOSE

DIRECT = Start(f"\n{THINK_CLOSE}\n", reasons=True)
PHASES = ("reasoning", "answer", "direct")
"""``direct`` is the answer behind an empty reasoning block: what the answer attends to without a chain of thought."""


def layer_attention(subject: Subject, transcript: Transcript) -> dict[str, list[tuple[float, float]]]:
    """Return the mean attention and the lift of each layer, for each phase of a transcript.

    Mean: attention of the steps that generate the phase to a constraint token, over steps, heads and those tokens.
    Lift: (mass on the constraints / mass on the prompt) · (P / C); 1 means no preference. Raw attention falls with
    every token that is added, on any model; lift does not.

    Only the map of one layer is in memory at a time.

    Raises:
        ConfigError: the model has no attention layers that show their weights.
    """
    modules = [module for name, module in subject.model.named_modules() if name.endswith("self_attn")]
    if not modules:
        raise ConfigError(f"{subject.name}: has no layer called self_attn, so constraint attention cannot be measured")
    found: dict[str, list[tuple[float, float]]] = {phase: [] for phase in transcript.phases}
    constraints = torch.tensor(transcript.constraints, device=subject.model.device)

    def reduce(module: Any, inputs: Any, output: Any) -> Any:
        out, weights_BHTT = output[0], output[1]
        if weights_BHTT is None:
            raise ConfigError(f"{subject.name}: its attention does not return weights; it needs the eager attention")
        for phase, (low, high) in transcript.phases.items():
            # The step that generates token t looks back from token t - 1.
            rows_RT = weights_BHTT[0, :, low - 1 : high - 1].float().mean(0)
            on_constraints_R = rows_RT[:, constraints].sum(-1)
            on_prompt_R = rows_RT[:, : transcript.prompt].sum(-1)
            mean = float(on_constraints_R.mean()) / len(transcript.constraints)
            shares = on_constraints_R.sum() / on_prompt_R.sum()
            found[phase].append((mean, float(shares) * transcript.prompt / len(transcript.constraints)))
        return (out, None, *output[2:])

    kept = subject.model.config._attn_implementation
    subject.model.set_attn_implementation("eager")
    hooks = [module.register_forward_hook(reduce) for module in modules]
    try:
        with torch.no_grad():
            subject.model(input_ids=torch.tensor([transcript.tokens], device=subject.model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
        subject.model.set_attn_implementation(kept)
    return found


def constraint_attention(subject: Subject, items: Sequence[PromptItem], base: Subject | None = None) -> dict[str, Any]:
    """Return mean attention and lift per phase, over all layers and for each, with intervals over the prompts.

    Args:
        subject: the model.
        items: prompts; those without constraints, or whose texts do not stand in the prompt, are left out and counted.
        base: not used.

    Returns:
        ``{phases: {phase: {lift, mean, layers: {lift, mean}}}, change, items, left_out}``; ``change`` is the lift of
        the answer behind reasoning minus that without, on the same prompts: below 0, reasoning drew attention away.

    Raises:
        DataError: no prompt is left.
    """
    drawn = subject.answer(items)
    direct = subject.answer(items, [DIRECT] * len(items))
    by_phase: dict[str, dict[str, list[tuple[float, float]]]] = {phase: {} for phase in PHASES}
    for item, reasoned, plain in zip(items, drawn, direct, strict=True):
        transcript = subject.transcript(item, reasoned.text, prefilled=reasoned.prefilled)
        if not transcript.constraints:
            continue
        for phase, layers in layer_attention(subject, transcript).items():
            by_phase[phase][item.id] = layers
        transcript = subject.transcript(item, plain.text, prefilled=plain.prefilled)
        if "answer" in transcript.phases:
            by_phase["direct"][item.id] = layer_attention(subject, transcript)["answer"]
    measured = {name for found in by_phase.values() for name in found}
    if not measured:
        raise DataError("constraint attention: no prompt has a constraint whose text stands in it; name other prompts")

    phases, lifts = dict[str, Any](), dict[str, Mapping[str, float]]()
    for phase, found in by_phase.items():
        if not found:
            continue
        lifts[phase] = {name: sum(lift for _, lift in layers) / len(layers) for name, layers in found.items()}
        means = {name: sum(mean for mean, _ in layers) / len(layers) for name, layers in found.items()}
        count = len(next(iter(found.values())))
        phases[phase] = {
            "lift": real_estimate(list(lifts[phase].values()), list(lifts[phase])),
            "mean": real_estimate(list(means.values()), list(means)),
            "layers": {
                name: [mean_of_scored(layers[layer][at] for layers in found.values()) for layer in range(count)]
                for at, name in enumerate(("mean", "lift"))
            },
        }
    # Only prompts whose response has reasoned compare an answer behind reasoning with one without.
    behind = {name: lift for name, lift in lifts.get("answer", {}).items() if name in by_phase["reasoning"]}
    change = Bootstrap().paired_difference(behind, lifts.get("direct", {})).to_dict()
    return {"phases": phases, "change": change, "items": len(measured), "left_out": len(items) - len(measured)}
