"""``classifier_selective``: a classifier, trained from two recorded runs, says which prompts to reason on (2505.11423).

The paper fine-tunes a 7B model for it. This one is a logistic regression on hashed words, which trains in a second and
asks for no GPU; `Selector.figures` has the oracle beside it, so that what a better one could still gain is known.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from adhere.evaluation.generation import Generation
from adhere.evaluation.remedies.base import Asked, Model, Remedy, remedy
from adhere.evaluation.remedies.selective import respond_selected
from adhere.evaluation.statistics import Bootstrap, prompt_means
from adhere.records.artifact import TABLE
from adhere.records.objects import read_object
from adhere.records.tables import read_responses
from adhere.rewards.errors import DataError
from adhere.rewards.files import write_json

WIDTH = 1024
"""Places that words and pairs of words are hashed to."""

SHRINK = 1.0
"""Weight of the squared weights against the log-likelihood: prompts are few, and words many."""

LEAST = 8
"""Prompts below which nothing is trained."""


def features(prompt: str) -> np.ndarray:
    """Return the features (WIDTH + 2,) of a prompt: which words and pairs of words it has, its length, a constant."""
    words = re.findall(r"[^\W\d_]+|\d+", prompt.lower())
    shown = ["#" if word.isdigit() else word for word in words]
    found = np.zeros(WIDTH + 2)
    for feature in {*shown, *(f"{a} {b}" for a, b in pairwise(shown))}:
        digest = hashlib.blake2b(feature.encode(), digest_size=8).digest()
        found[int.from_bytes(digest, "big") % WIDTH] = 1.0
    norm = np.linalg.norm(found)
    if norm > 0.0:
        found /= norm
    found[-2], found[-1] = np.log1p(len(words)) / 5.0, 1.0
    return found


@dataclass(frozen=True, slots=True)
class Selector:
    """A trained selector: ``weights`` (WIDTH + 2,), what it was trained on, and how it did on the prompts held back.

    ``figures`` has, on these prompts, the mean of ``metric`` when the model always reasons (``think``), never does
    (``direct``), as selected, and for the ``oracle``, which takes the better of the two for each prompt.
    """

    weights: list[float]
    metric: str
    figures: dict[str, Any]

    def thinks(self, prompt: str) -> bool:
        """Whether the model is to reason on ``prompt``."""
        return float(features(prompt) @ np.asarray(self.weights)) >= 0.0


def train_selector(think: Path, direct: Path, metric: str = "joint") -> Selector:
    """Train a selector from two evaluations of one model: as it is, and under the remedy ``direct``.

    A prompt is to be reasoned on where the run with reasoning scored at least as high. Every second prompt trains, the
    others measure.

    Args:
        think: folder of the evaluation with reasoning.
        direct: folder of the one without, on the same prompts.
        metric: ``joint``, ``hacc``, ``sacc`` or ``accuracy``.

    Raises:
        DataError: a folder has no responses, they share fewer than eight scored prompts, or the two never differ.
    """
    scores: list[Mapping[str, float]] = []
    prompts: dict[str, str] = {}
    for folder in (think, direct):
        rows = [row for row in read_responses(folder / TABLE) if row["twin_of"] is None]
        values = [row["correct"]["score"] if metric == "accuracy" else row[metric] for row in rows]
        scores.append(prompt_means(values, [row["id"] for row in rows]))
        prompts |= {row["id"]: "\n".join(message["content"] for message in row["messages"]) for row in rows}
    # An order that has nothing to do with that of the file, whose sources may follow each other.
    shared = sorted(scores[0].keys() & scores[1].keys(), key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(shared) < LEAST:
        raise DataError(
            f"{think} and {direct}: share {len(shared)} prompts with a scored {metric}; a selector needs {LEAST}"
        )
    taught, held = shared[::2], shared[1::2]
    label_N = np.array([scores[0][name] >= scores[1][name] for name in taught], dtype=float)
    if len(set(label_N)) == 1:
        better = "reasoning is never worse" if label_N[0] else "reasoning is always worse"
        raise DataError(f"{think} and {direct}: {better} on the prompts to train on, so there is nothing to select")
    weights = _logistic(np.stack([features(prompts[name]) for name in taught]), label_N)
    selector = Selector([round(float(weight), 6) for weight in weights], metric, {})
    chosen = {name: scores[0 if selector.thinks(prompts[name]) else 1][name] for name in held}
    policies = {
        "think": {name: scores[0][name] for name in held},
        "direct": {name: scores[1][name] for name in held},
        "selected": chosen,
        "oracle": {name: max(scores[0][name], scores[1][name]) for name in held},
    }
    figures: dict[str, Any] = {
        policy: Bootstrap().estimate(list(values.values()), list(values)).to_dict()
        for policy, values in policies.items()
    }
    figures |= {
        "over_think": Bootstrap().paired_difference(chosen, policies["think"]).to_dict(),
        "over_direct": Bootstrap().paired_difference(chosen, policies["direct"]).to_dict(),
        "trained_on": len(taught),
        "measured_on": len(held),
    }
    return Selector(selector.weights, metric, figures)


def _logistic(rows_NF: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    """Return the weights (F,) of a logistic regression with a squared penalty, by Newton's method in the rows' span."""
    # The solution is a combination of the rows, so that N unknowns are enough for F features.
    kernel_NN = rows_NF @ rows_NF.T
    part_N = np.zeros(len(label_N))
    for _ in range(50):
        share_N = 1.0 / (1.0 + np.exp(-kernel_NN @ part_N))
        spread_N = np.maximum(share_N * (1.0 - share_N), 1e-9)
        # (K + SHRINK / W) part = K part + (label - share) / W
        target_N = kernel_NN @ part_N + (label_N - share_N) / spread_N
        found_N = np.linalg.solve(kernel_NN + SHRINK * np.diag(1.0 / spread_N), target_N)
        if np.abs(found_N - part_N).max() < 1e-9:
            break
        part_N = found_N
    return part_N @ rows_NF


def write_selector(path: Path, selector: Selector) -> None:
    """Write a selector as JSON."""
    write_json(path, asdict(selector))


def read_selector(path: Path) -> Selector:
    """Return the selector in a file.

    Raises:
        DataError: the file is missing, or holds something else.
    """
    found = read_object(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; adhere selector THINK DIRECT to={path} writes it")
    weights = found.get("weights")
    if not isinstance(weights, list) or len(weights) != WIDTH + 2:
        raise DataError(f"{path}: is not a selector; adhere selector THINK DIRECT to=FILE writes one")
    return Selector([float(weight) for weight in weights], str(found.get("metric")), dict(found.get("figures") or {}))


@remedy("classifier_selective")
class ClassifierSelective(Remedy):
    """A trained selector says for each prompt whether the model reasons, or answers behind an empty reasoning block."""

    selector: str = Field(min_length=1)
    """File of the selector, as ``adhere selector`` writes it."""

    continues: ClassVar[bool] = True

    files: ClassVar[Sequence[str]] = ("selector",)

    @cached_property
    def _loaded(self) -> Selector:
        return read_selector(Path(self.selector))

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        prompts = ["\n".join(message["content"] for message in one.item.messages) for one in asked]
        return respond_selected(model, asked, [self._loaded.thinks(prompt) for prompt in prompts])
