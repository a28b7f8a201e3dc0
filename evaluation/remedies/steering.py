"""``steering``: a direction from verbose to concise reasoning is added to a layer's output (ASC, arXiv 2507.04742).

Shapes: D width of the model, P pairs, V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr

from adhere.evaluation.generation import Generation
from adhere.evaluation.remedies.base import Asked, Model, Remedy, remedy
from adhere.prompts.item import read_rows
from adhere.rewards.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch

LEAST = 5
"""Pairs below which there is no direction to test."""

STRONGEST = 4.0
"""Most multiples of the difference between concise and verbose that are added, where the bound allows more."""

HELD_BACK = 5
"""Every so manieth pair is kept out of the direction, and tests its sign."""


@dataclass(frozen=True, slots=True)
class Direction:
    """A direction (D,) at the output of ``layer``, the strength that the bound allows, and what both were found by.

    ``agreement`` is the mean cosine between the direction and the pairs that it was not made of, in [-1, 1]; ``kl`` the
    mean divergence of the next token, in nats, at that strength.
    """

    layer: int
    vector: torch.Tensor
    strength: float
    agreement: float
    kl: float


@remedy("steering")
class Steering(Remedy):
    """Every generated token is steered towards concise reasoning, as far as a bound on the divergence allows.

    The direction is the mean difference of a layer's last state between a problem with a concise and with a verbose
    chain of thought. Its sign is tested on pairs that it was not made of.
    """

    pairs: str = Field(min_length=1)
    """JSONL of ``{question, short, long}``: a problem with a concise and a verbose reasoning; 50 are enough."""

    layer: int | None = Field(default=None, ge=0)
    """Layer whose output is steered, from 0; ``None`` is two thirds of the way up."""

    kl: float = Field(default=0.1, gt=0.0)
    """Most that the next token's distribution may diverge on average, in nats; the strength follows from it."""

    continues: ClassVar[bool] = True

    files: ClassVar[Sequence[str]] = ("pairs",)

    _directions: dict[int, Direction] = PrivateAttr(default_factory=dict)

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        from adhere.evaluation.backends.transformers import TransformersGenerator

        generator = model.generator
        if not isinstance(generator, TransformersGenerator):
            raise ConfigError("remedy: steering reaches into the model, so it needs the transformers back end")
        if id(generator) not in self._directions:
            self._directions[id(generator)] = find_direction(generator, Path(self.pairs), self.layer, self.kl)
        direction = self._directions[id(generator)]
        with steered(generator.model, direction.layer, direction.strength * direction.vector):
            return model.answer(asked)


def find_direction(generator: Any, path: Path, layer: int | None, bound: float) -> Direction:
    """Return the direction of a file of pairs, tested, at the largest strength within the bound.

    Args:
        generator: the model behind the transformers back end.
        path: the pairs.
        layer: the layer, or ``None`` for two thirds of the way up.
        bound: most mean divergence of the next token, in nats.

    Raises:
        DataError: a row is not a pair, or there are fewer than five.
        ConfigError: there is no such layer, or the held-back pairs do not point where the others do.
    """
    import torch

    pairs = []
    for row in read_rows(path):
        texts = [row.values.get(key) for key in ("question", "short", "long")]
        if not all(isinstance(text, str) and text for text in texts):
            raise DataError(f"{row.where}: is not a pair; write {{question, short, long}}, all of them text")
        pairs.append([str(text) for text in texts])
    if len(pairs) < LEAST:
        raise DataError(f"{path}: holds {len(pairs)} pairs, which is too few for a direction; give at least {LEAST}")
    layers = decoder_layers(generator.model)
    at = 2 * len(layers) // 3 if layer is None else layer
    if at >= len(layers):
        raise ConfigError(f"remedy.layer: {at}, but the model's layers are 0 to {len(layers) - 1}")

    def run(text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the layer's last state (D,) and the log-likelihoods (V,) of the next token."""
        states: list[torch.Tensor] = []

        def keep(module: Any, inputs: Any, output: Any) -> None:
            states.append((output[0] if isinstance(output, tuple) else output)[0, -1].float())

        tokens = generator.tokenizer(text, add_special_tokens=False)["input_ids"]
        hook = layers[at].register_forward_hook(keep)
        try:
            with torch.no_grad():
                logits = generator.model(input_ids=torch.tensor([tokens], device=generator.model.device)).logits[0, -1]
        finally:
            hook.remove()
        return states[0], torch.log_softmax(logits.float(), dim=-1)

    contexts = []
    for question, short, long in pairs:
        prompt = generator.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False,
            chat_template=generator.chat_template,
        )  # fmt: skip
        contexts.append((f"{prompt}{short}", f"{prompt}{long}"))
    was_training = generator.model.training
    generator.model.eval()
    plain = [run(short) for short, _ in contexts]
    gaps_PD = torch.stack([state - run(long)[0] for (state, _), (_, long) in zip(plain, contexts, strict=True)])
    held = torch.arange(len(pairs)) % HELD_BACK == 0
    vector_D = gaps_PD[~held].mean(0)
    agreement = float(torch.cosine_similarity(gaps_PD[held], vector_D[None], dim=-1).mean())
    if not agreement > 0.0:
        raise ConfigError(
            f"remedy.pairs: {path}: the pairs have no common direction from long to short (mean cosine "
            f"{agreement:.2f} on those held back); check which text is which, or give more pairs"
        )

    def divergence(strength: float) -> float:
        total = 0.0
        with steered(generator.model, at, strength * vector_D):
            for (_, before_V), (short, _) in zip(plain, contexts, strict=True):
                after_V = run(short)[1]
                total += float((after_V.exp() * (after_V - before_V)).sum())
        return total / len(plain)

    # The largest strength within the bound, by bisection.
    low, high = 0.0, STRONGEST
    if divergence(high) <= bound:
        low = high
    for _ in range(12):
        middle = (low + high) / 2.0
        low, high = (middle, high) if divergence(middle) <= bound else (low, middle)
    found = Direction(at, vector_D, low, agreement, divergence(low))
    generator.model.train(was_training)
    return found


@contextlib.contextmanager
def steered(model: Any, layer: int, shift: torch.Tensor) -> Iterator[None]:
    """While this holds, ``shift`` (D,) is added to the last position of the layer's output."""

    def add(module: Any, inputs: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        states = states.clone()
        states[:, -1] += shift.to(states.dtype)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    hook = decoder_layers(model)[layer].register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def decoder_layers(model: Any) -> list[Any]:
    """Return the layers of a decoder, in order.

    Raises:
        ConfigError: it has none where they are usually found.
    """
    decoder = model.get_decoder()
    for name in ("layers", "h", "blocks"):
        if (layers := getattr(decoder, name, None)) is not None:
            return list(layers)
    raise ConfigError(f"remedy: {type(model).__name__} has no list of layers that steering could reach")
