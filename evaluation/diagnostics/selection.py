"""What training selected: best@k of both skills (support reshaping, arXiv 2608.00220), and which tokens it rerouted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from adhere.evaluation.diagnostics.estimates import real_estimate
from adhere.evaluation.diagnostics.subject import Subject
from adhere.evaluation.scoring import score_responses
from adhere.evaluation.statistics import Bootstrap, pass_at_k
from adhere.prompts.item import PromptItem
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import ConfigError, DataError

SAMPLES = 8


def best_at_k(subject: Subject, items: Sequence[PromptItem], base: Subject | None = None) -> dict[str, Any]:
    """Return for k = 1, 2, 4, 8 how often the best of k responses is right, follows all constraints, or does both.

    Drawn at temperature 1. Training that raises k = 1 and lowers k = 8 has only chosen among what the model could do.

    Args:
        subject: the model.
        items: the prompts.
        base: not used.
    """
    drawn = subject.sample(items, SAMPLES)
    pairs = [(item, generation) for item, samples in zip(items, drawn, strict=True) for generation in samples]
    scores = score_responses(pairs, "hardened", default_engine())
    figures: dict[str, Any] = {"samples": SAMPLES, "items": len(items)}
    for name in ("accuracy", "hacc", "joint"):
        counts: dict[str, tuple[int, int]] = {}
        for (item, _), score in zip(pairs, scores, strict=True):
            value = score.correct.score if name == "accuracy" else getattr(score, name)
            if value is not None:
                good, all_of_it = counts.get(item.id, (0, 0))
                counts[item.id] = (good + (value == 1.0), all_of_it + 1)
        whole = {prompt: good for prompt, (good, count) in counts.items() if count == SAMPLES}
        figures[name] = {
            str(k): Bootstrap()
            .estimate([pass_at_k(good, SAMPLES, k) for good in whole.values()], list(whole))
            .to_dict()
            for k in (1, 2, 4, 8)
        }
    return figures


def routing(subject: Subject, items: Sequence[PromptItem], base: Subject | None = None) -> dict[str, Any] | None:
    """Return on which share of the model's own tokens the model that it was tuned from would have chosen another one.

    ``differs`` is that share and ``kl`` the mean divergence of the two choices in nats, for the whole response and each
    phase of it. Of a model against itself both are 0.

    Args:
        subject: the tuned model.
        items: the prompts.
        base: the model that it was tuned from; ``None`` leaves nothing to compare.

    Raises:
        ConfigError: the two have different tokenizers.
        DataError: no response has a token.
    """
    if base is None or base is subject:
        return None
    if subject.tokenizer.get_vocab() != base.tokenizer.get_vocab():
        raise ConfigError(
            f"routing: {subject.name} and {base.name} have different tokenizers, so their tokens do not compare; leave "
            f"routing out of only=[...]"
        )
    rows: dict[str, list[tuple[tuple[float, float], str]]] = {}
    for item, generation in zip(items, subject.answer(items), strict=True):
        transcript = subject.transcript(item, generation.text, prefilled=generation.prefilled)
        with torch.no_grad():
            ours_TV, theirs_TV = (
                torch.log_softmax(side.logits(transcript.tokens)[:, : len(subject.tokenizer)], dim=-1)
                for side in (subject, base)
            )
        differs_T = (ours_TV.argmax(-1) != theirs_TV.argmax(-1)).float()
        kl_T = (ours_TV.exp() * (ours_TV - theirs_TV)).sum(-1)
        spans = {"response": (transcript.prompt, len(transcript.tokens)), **transcript.phases}
        for phase, (low, high) in spans.items():
            for t in range(low - 1, high - 1):
                rows.setdefault(phase, []).append(((float(differs_T[t]), float(kl_T[t])), item.id))
    if not rows:
        raise DataError("routing: no response has a token")
    return {
        phase: {
            name: real_estimate([values[at] for values, _ in found], [prompt for _, prompt in found])
            for at, name in enumerate(("differs", "kl"))
        }
        for phase, found in rows.items()
    }
