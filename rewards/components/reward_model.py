"""The component that a sequence classifier scores: a reward model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from adhere.rewards.components.base import COMPONENTS, Context, Valued, ordered
from adhere.rewards.components.python import scored_by
from adhere.rewards.errors import ConfigError, nearest
from adhere.rewards.process import FunctionProcess
from adhere.rewards.rollout import Rollout
from adhere.rewards.segments import Scope, missing
from adhere.rewards.verdict import Verdict, failed

CLASSIFIER = "adhere.train.model.reward_model:RewardModel"
"""Loads and runs the model in a process of its own; named by text, for this room imports no torch."""


@COMPONENTS.register("reward_model")
class RewardModelComponent(Valued):
    """What a sequence classifier gives a prompt with its response: its one output, or the probability of a label.

    It runs in a process of its own on each rank. A folder's labels are checked before anything starts.
    """

    kind: Literal["reward_model"] = "reward_model"
    model: str = Field(min_length=1)
    """Folder or hub id of a model with a trained head for sequence classification."""

    revision: str | None = None
    """Commit, tag or branch of a hub id."""

    label: str | None = None
    """Name of the label whose probability is the score; ``null`` takes the output of a model that has one."""

    bounds: tuple[float, float] | None = None
    """Outputs that are mapped to 0 and 1, linearly; what lies beyond them is 0 or 1. ``null`` takes the logistic
    function of the output. The output itself is kept in the verdict's detail."""

    input: Literal["chat", "pair"] = "chat"
    """``chat``: one turn of a user and one of an assistant, by the chat template of the model's tokenizer. ``pair``:
    prompt and response as the tokenizer joins two texts."""

    scope: Scope = "answer"
    """Which part is scored: the answer after the reasoning, the whole response, or the reasoning."""

    max_length: int | None = Field(default=None, ge=8)
    """Tokens of prompt and response; what is longer is cut at its end. ``null`` is the model's own limit."""

    device: str = "auto"
    """Such as ``cpu`` or ``cuda:1``. ``auto`` is the rank's own GPU where there is one."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` is bfloat16 on a GPU, float32 on a CPU."""

    batch_size: int = Field(default=16, ge=1)
    """Responses in one forward pass."""

    timeout: float = Field(default=600.0, gt=0.0, le=1500.0)
    """Seconds that a rank's batch may take before the process is killed. The rollouts are then tried one by one, each
    for its share of these seconds. What is lost again scores 0 where an ordinary response to the same prompt is scored,
    else it is ``timeout``. Loading the model does not count."""

    operational: ClassVar = frozenset({"device", "batch_size", "timeout"})

    @model_validator(mode="after")
    def _mapped(self) -> RewardModelComponent:
        if self.bounds is not None:
            if self.label is not None:
                raise ValueError("bounds: a label's probability lies in [0, 1]; leave bounds out, or label")
            ordered(self.bounds)
        return self

    def check(self, name: str) -> None:
        """Read the folder's ``config.json``: the head that the model has, and the labels it knows.

        Raises:
            ConfigError: there is no such folder, it is not a classifier, or it lacks the label.
        """
        key, folder = f"rewards.components.{name}", Path(self.model)
        file = folder / "config.json"
        if not folder.is_dir() and self.model.count("/") == 1 and not self.model.startswith((".", "/", "~")):
            return  # a hub id
        if not file.is_file():
            raise ConfigError(f"{key}.model: there is no model at '{self.model}' (no config.json); name a folder or id")
        config = json.loads(file.read_text(encoding="utf-8"))
        kinds = config.get("architectures") or []
        if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
            found = ", ".join(kinds) or "unknown"
            raise ConfigError(f"{key}.model: '{self.model}' is not a sequence classifier (its architecture: {found})")
        labels = list(config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"}).values())
        if self.label is None and len(labels) != 1:
            raise ConfigError(f"{key}.label: the model has {len(labels)} outputs; name one of {', '.join(labels)}")
        if self.label is not None and self.label not in labels:
            hint = nearest(self.label, labels)
            raise ConfigError(f"{key}.label: the model has no label '{self.label}'{hint}; it has {', '.join(labels)}")

    def open(self, name: str) -> FunctionProcess:
        """Return the model's process, which starts with the first batch."""
        names = {"model", "revision", "label", "input", "max_length", "device", "dtype", "batch_size"}
        params = self.model_dump(include=names)
        return FunctionProcess(
            CLASSIFIER, params, key=f"rewards.components.{name}", timeout=self.timeout, blame="model"
        )

    def verdict(self, value: float | None) -> Verdict:
        """Return the verdict of one output of the model.

        Raises:
            ValueError: it is not a number.
        """
        if value is None or math.isnan(value):
            raise ValueError("the model's output is not a number")
        if self.label is not None:
            return Verdict(value, detail=f"probability {value:g}")
        if self.bounds is None:
            score = 1.0 / (1.0 + math.exp(-value)) if value >= 0.0 else math.exp(value) / (1.0 + math.exp(value))
        else:
            low, high = self.bounds
            score = min(1.0, max(0.0, (value - low) / (high - low)))
        return Verdict(score, detail=f"raw value {value:g}")

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Score the part that ``scope`` names; a response that lacks it scores 0.0."""
        texts = [rollout.segments.scoped(self.scope) for rollout in rollouts]
        asked = [replace(r, response=t, checklist=()) for r, t in zip(rollouts, texts, strict=True) if t is not None]
        scored = iter(scored_by(context.resource, self, asked))
        return [failed(missing(self.scope)) if text is None else next(scored) for text in texts]
