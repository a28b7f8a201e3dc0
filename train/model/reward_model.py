"""A sequence classifier as a reward: loaded once, in a process of its own; see rewards/components/reward_model.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from adhere.rewards.errors import ConfigError
from adhere.rewards.rollout import Rollout


class RewardModel:
    """Gives each rollout the model's one output, or the probability of a label.

    Args:
        model: folder or hub id.
        revision: commit, tag or branch of a hub id.
        label: the label whose probability is returned; ``None`` for a model with one output.
        input: ``chat`` (by the tokenizer's chat template) or ``pair`` (two texts that the tokenizer joins).
        max_length: tokens of prompt and response; ``None`` is the model's own limit.
        device: a torch device, or ``auto``.
        dtype: name of a torch type, or ``auto``.
        batch_size: responses in one forward pass.

    Raises:
        ConfigError: the model cannot be loaded, or has no trained head, no such label or no chat template.
    """

    def __init__(
        self,
        model: str,
        revision: str | None,
        label: str | None,
        input: str,
        max_length: int | None,
        device: str,
        dtype: str,
        batch_size: int,
    ) -> None:
        if device == "auto":
            rank = int(os.environ.get("LOCAL_RANK", "0"))
            device = f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        if dtype == "auto":
            dtype = "bfloat16" if device.startswith("cuda") else "float32"
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model, revision=revision)
            loaded, report = AutoModelForSequenceClassification.from_pretrained(
                model, revision=revision, dtype=getattr(torch, dtype), output_loading_info=True
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"'{model}' cannot be loaded: {str(error).splitlines()[0]}") from error
        if report["missing_keys"]:
            lacking = ", ".join(sorted(report["missing_keys"])[:3])
            raise ConfigError(f"'{model}' has no trained head for sequence classification (it lacks {lacking})")
        labels = {name: place for place, name in loaded.config.id2label.items()}
        if label is None and len(labels) != 1:
            raise ConfigError(f"'{model}' has {len(labels)} outputs; name one of its labels: {', '.join(labels)}")
        if label is not None and label not in labels:
            raise ConfigError(f"'{model}' has no label '{label}'; it has {', '.join(labels)}")
        if input == "chat" and self._tokenizer.chat_template is None:
            raise ConfigError(f"the tokenizer of '{model}' has no chat template; set input to pair")
        # A decoder reads its output at the last token that is not its padding, so batches have to be padded with that.
        if loaded.config.pad_token_id is not None:
            self._tokenizer.pad_token = self._tokenizer.convert_ids_to_tokens(loaded.config.pad_token_id)
        elif self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        loaded.config.pad_token_id = self._tokenizer.pad_token_id
        positions = getattr(loaded.config, "max_position_embeddings", None)
        self._max_length = max_length or min(self._tokenizer.model_max_length, positions or 2**20, 2**20)
        self._label = None if label is None else labels[label]
        self._model, self._input, self._batch_size = loaded.to(device).eval(), input, batch_size

    @torch.inference_mode()
    def __call__(self, rollouts: Sequence[Rollout]) -> list[float]:
        """Return one output for each rollout, in order."""
        fits: dict[str, Any] = {"max_length": self._max_length, "padding": True, "return_tensors": "pt"}
        values: list[float] = []
        for start in range(0, len(rollouts), self._batch_size):
            batch = rollouts[start : start + self._batch_size]
            if self._input == "pair":
                texts = [r.prompt for r in batch], [r.response for r in batch]
                encoded = self._tokenizer(*texts, truncation="longest_first", **fits)
            else:
                turns = [(("user", r.prompt), ("assistant", r.response)) for r in batch]
                chats = [[{"role": role, "content": text} for role, text in chat] for chat in turns]
                written = [str(self._tokenizer.apply_chat_template(chat, tokenize=False)) for chat in chats]
                encoded = self._tokenizer(written, truncation=True, add_special_tokens=False, **fits)
            logits = self._model(**encoded.to(self._model.device)).logits.float()  # (responses, labels)
            if self._label is None:
                found = logits[:, 0]
            elif self._model.config.problem_type == "multi_label_classification":
                found = logits.sigmoid()[:, self._label]
            else:
                found = logits.softmax(dim=-1)[:, self._label]
            values += found.tolist()
        return values
