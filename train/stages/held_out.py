"""Evaluation while training: accuracy against adherence on held-out prompts, on the training ranks.

The trade-off meter is the change of both since before the first step: reasoning training that raises accuracy and loses
the instructions shows here, and not in the rollouts, whose prompts are those that are trained on.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.models import unwrap_model_for_generation

from adhere.evaluation.backends.transformers import TransformersGenerator
from adhere.evaluation.generation import Sampling
from adhere.evaluation.scoring import finished_reasoning, score_responses
from adhere.evaluation.statistics import Bootstrap, mean_of_scored
from adhere.records.artifact import Artifact
from adhere.records.jsonl import read_jsonl
from adhere.records.tables import Row
from adhere.rewards.checklist import require_judge
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import StageError
from adhere.rewards.files import write_text
from adhere.rewards.judge import load_judge
from adhere.train.model.chat import prompt_text
from adhere.train.model.load import check_context
from adhere.train.stages.best_checkpoint import BY, Best
from adhere.train.stages.data import load_items, prompt_length
from adhere.train.stages.drift import Alarm
from adhere.train.stages.generation import drawing_of
from adhere.train.stages.setup import random_state
from adhere.train.stages.trainer import raise_on_all_ranks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.train.config.held_out import HeldOutConfig
    from adhere.train.config.stage import StageSpec
    from adhere.train.stages.trainer import ExactResume

FIGURES = ("accuracy", "hacc", "joint", "sacc", "tokens", "trace", "finished", "entropy")
"""Shares in [0, 1]; ``tokens`` of the response, ``trace`` of its reasoning block, ``entropy`` in nats a token."""

METER = {
    "held_out/accuracy": "held-out accuracy",
    "held_out/accuracy_change": "Δ",
    "held_out/hacc": "held-out HAcc",
    "held_out/hacc_change": "ΔHAcc",
}
"""Short names of the trade-off meter in the progress line."""


class HeldOut(TrainerCallback):
    """Measures the policy before the first step, every ``config.every`` steps and at the end, equally on every rank.

    Each rank answers its share of ``items`` greedily, and scores it. ``held_out.jsonl`` has a row for each evaluation;
    the figures also go into the trainer's next logged row. Random states are put back, so that training is the same.
    """

    def __init__(
        self,
        trainer: ExactResume,
        spec: StageSpec,
        artifact: Artifact,
        items: Sequence[PromptItem],
        tokenizer: PreTrainedTokenizerBase,
        max_new_tokens: int,
    ) -> None:
        """Measure nothing yet.

        Args:
            trainer: of the stage.
            spec: the stage.
            artifact: its folder.
            items: the held-out slice, at least two prompts.
            tokenizer: of the model.
            max_new_tokens: length limit of a response in tokens.
        """
        self._trainer, self._artifact, self._items, self._tokenizer = trainer, artifact, items, tokenizer
        self._config: HeldOutConfig = getattr(spec.recipe, spec.section).held_out
        self._mode = spec.recipe.evaluation.mode
        self._sampling = Sampling(0.0, 1.0, max_new_tokens)
        self._stop_on_alarm = spec.section == "grpo" and "held_out" in spec.recipe.grpo.monitors.stop_on
        judge = spec.recipe.evaluation.judge
        self._judge = None if judge is None else load_judge(judge)
        require_judge([item.checklist for item in items], self._judge)
        self._first: list[Row] = []
        self._since = 0
        self._values: list[tuple[int, float]] = []
        self._alarm: Row | None = None
        self.ended = False
        """Whether ``stop_when`` has ended training."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self._first:
            self._since = state.global_step
            self._forget(self._since - 1)
            self._evaluate(state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        every = self._config.every
        assert every is not None
        if state.global_step % every == 0 or state.global_step >= state.max_steps:
            self._evaluate(state, control)

    def _evaluate(self, state: TrainerState, control: TrainerControl) -> None:
        """Measure, log, and decide on the alarm and the end; every rank comes to the same."""
        started, step = time.monotonic(), state.global_step
        rows = self._rows()
        figures = {name: value for name in FIGURES if (value := mean_of_scored(row[name] for row in rows)) is not None}
        unseen = [row for row in rows if row["held_out"]]
        if unseen and len(unseen) < len(rows):
            for name in ("hacc", "joint"):
                if (value := mean_of_scored(row[name] for row in unseen)) is not None:
                    figures[f"{name}_unseen"] = value
        self._first = self._first or rows
        change = {}
        for name in ("accuracy", "hacc"):
            now, then = (
                {row["id"]: row[name] for row in side if row[name] is not None} for side in (rows, self._first)
            )
            change[name] = Bootstrap().paired_difference(now, then)
            if (mean := change[name].mean) is not None:
                figures[f"{name}_change"] = mean

        # Adherence has fallen by more than luck while accuracy has risen.
        accuracy, hacc = change["accuracy"], change["hacc"]
        rose = accuracy.mean is not None and accuracy.mean > 0.0
        alarmed = rose and hacc.high is not None and hacc.high < 0.0
        writes = state.is_world_process_zero
        if alarmed and self._alarm is None:
            text = (
                f"on {hacc.prompts} held-out prompts HAcc has changed by {hacc.mean:+.1%} "
                f"({hacc.low:+.1%} to {hacc.high:+.1%}) since step {self._since}, and accuracy by "
                f"{accuracy.mean:+.1%}: the model reasons better and follows its instructions less"
            )
            assert hacc.mean is not None
            self._alarm = Alarm("held_out", step, hacc.mean, 0.0, text).to_dict()
            if writes:
                _append(self._artifact.alarms, self._alarm)
                print(f"\nalarm held_out at step {step}: {text}", file=sys.stderr, flush=True)
        if writes:
            row = {"step": step, **figures, "seconds": round(time.monotonic() - started, 3), "prompts": len(rows)}
            _append(self._artifact.held_out, row)
        if step > 0:  # the row of step 1 is not the place of what was measured before it
            logged = {f"held_out/{name}": value for name, value in figures.items()}
            self._trainer.log_figures(logged | {"alarms/held_out": float(alarmed)})
            self._trainer.best.observe(figures)
        if alarmed and self._stop_on_alarm:
            assert self._alarm is not None
            raise StageError(
                f"alarm held_out at step {step}: {self._alarm['text']} (grpo.monitors.stop_on names it; change the "
                f"recipe, or remove it from the list to go on from the newest checkpoint)"
            )

        # The end, where the figure has stopped rising.
        if (by := self._config.stop_when) is None or by not in figures:
            return
        self._values.append((step, figures[by]))
        best = max(range(len(self._values)), key=lambda i: self._values[i][1])  # the earliest of equal ones
        if len(self._values) - 1 - best >= self._config.patience and step < state.max_steps:
            self.ended = control.should_training_stop = control.should_save = True
            state.max_steps = step  # this is the last step, for the best checkpoint and for the summary too
            if writes:
                at, value = self._values[best]
                print(
                    f"\nadhere: training ends at step {step}: held-out {by} has not risen above {value:.3f}, of step "
                    f"{at}, in {self._config.patience} evaluations",
                    file=sys.stderr,
                    flush=True,
                )

    def _rows(self) -> list[Row]:
        """Return a row for each held-out prompt, from all ranks: its scores, and what its response measures."""
        trainer = self._trainer
        accelerator, ranks = trainer.accelerator, trainer.accelerator.num_processes
        # Every rank has equally many prompts, since ranks that share weights go through the model together.
        most = -(-len(self._items) // ranks)
        places = [(accelerator.process_index * most + i) % len(self._items) for i in range(most)]
        mine = [self._items[place] for place in places]
        restore, rows = random_state(), list[Row]()
        checkpointing: Any = trainer.args.gradient_checkpointing_kwargs
        with unwrap_model_for_generation(
            trainer.model_wrapped, accelerator, gradient_checkpointing_kwargs=checkpointing
        ) as model:
            was_training = model.training
            model.eval()
            generator = TransformersGenerator(
                model,
                self._tokenizer,
                name="policy",
                batch_size=min(self._config.batch_size, most),
                drawing=drawing_of(trainer),
            )
            drawn = [found[0] for found in generator.generate(mine, self._sampling)]
            entropies = [
                self._entropy(model, item, generation.text) for item, generation in zip(mine, drawn, strict=True)
            ]
            model.train(was_training)
        restore()

        def score() -> None:
            scores = score_responses(list(zip(mine, drawn, strict=True)), self._mode, default_engine(), self._judge)
            for item, generation, found, entropy in zip(mine, drawn, scores, entropies, strict=True):
                trace = finished_reasoning(generation)
                length = None if trace is None else len(self._tokenizer(trace, add_special_tokens=False)["input_ids"])
                rows.append(
                    {
                        "id": item.id, "held_out": item.source.endswith("+held_out"), "accuracy": found.correct.score,
                        "hacc": found.hacc, "joint": found.joint, "sacc": found.sacc, "tokens": generation.tokens,
                        "trace": length, "finished": float(generation.finished), "entropy": entropy,
                    }
                )  # fmt: skip

        raise_on_all_ranks(score, "scoring the held-out responses")
        return list({row["id"]: row for row in gather_object(rows)}.values())

    @torch.no_grad()
    def _entropy(self, model: Any, item: PromptItem, response: str) -> float | None:
        """Return the mean entropy, in nats, of the policy's choice of each token of ``response``."""
        before = self._tokenizer(prompt_text(self._tokenizer, item.messages), add_special_tokens=False)["input_ids"]
        after = self._tokenizer(response, add_special_tokens=False)["input_ids"]
        ids_1T = torch.tensor([[*before, *after]], device=model.device)
        logits_TV = model(input_ids=ids_1T).logits[0, len(before) - 1 : -1 if after else None]
        log_TV = torch.log_softmax(logits_TV.float(), dim=-1)
        return float(-(log_TV.exp() * log_TV).sum(-1).mean())

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold to go on."""
        return {
            "first": self._first, "values": self._values, "alarm": self._alarm, "ended": self.ended,
            "since": self._since,
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any], step: int) -> None:
        """Go on from what ``state`` returned at ``step``; what was recorded after it is forgotten."""
        self._first, self._values, self._alarm = state["first"], state["values"], state["alarm"]
        self.ended, self._since = state["ended"], state["since"]
        self._forget(step)

    def _forget(self, step: int) -> None:
        """Leave in the files what was known at ``step``: a later attempt measures and raises the rest again."""
        if not self._trainer.accelerator.is_main_process:
            return
        kept = [row for row in read_jsonl(self._artifact.held_out).rows if row["step"] <= step]
        write_text(self._artifact.held_out, "".join(json.dumps(row) + "\n" for row in kept))
        others = [row for row in read_jsonl(self._artifact.alarms).rows if row["name"] != "held_out"]
        raised = [*others, *([] if self._alarm is None else [self._alarm])]
        write_text(self._artifact.alarms, "".join(json.dumps(row) + "\n" for row in raised))


def add_held_out(
    trainer: ExactResume,
    spec: StageSpec,
    artifact: Artifact,
    tokenizer: PreTrainedTokenizerBase,
    max_new_tokens: int,
) -> None:
    """Have ``trainer`` evaluate while it trains, where the recipe asks for it.

    Args:
        trainer: of the stage.
        spec: the stage, of kind ``sft``, ``grpo`` or ``distill``.
        artifact: its folder.
        tokenizer: of the model.
        max_new_tokens: length limit of a response in tokens, where the recipe sets none for the evaluation.

    Raises:
        ConfigError: a held-out requirement needs a judge and none is named, or a response does not fit the context.
    """
    config: HeldOutConfig = getattr(spec.recipe, spec.section).held_out
    if config.every is None:
        return
    items = held_out_slice(load_items(spec, artifact, tokenizer, "evaluation"), config.items)
    tokens = config.max_new_tokens or max_new_tokens
    longest = max(prompt_length(tokenizer, item) for item in items)
    exceed = (
        f"{spec.section}.held_out.max_new_tokens: {tokens} and the longest held-out prompt, {longest} tokens, exceed "
        f"the model's context of {{context}}; lower it"
    )
    check_context(spec.recipe.model, tokens + longest, exceed)
    by = BY if config.stop_when is None else (config.stop_when, *(name for name in BY if name != config.stop_when))
    trainer.best = Best(int(trainer.args.save_steps), by, evaluated=True)
    measures = HeldOut(trainer, spec, artifact, items, tokenizer, tokens)
    trainer.held_out = measures
    trainer.add_callback(measures)


def held_out_slice(items: Sequence[PromptItem], count: int) -> list[PromptItem]:
    """Return ``count`` of ``items``, or all where there are fewer: every source in turn, evenly spread within each."""
    by_source: dict[str, list[PromptItem]] = {}
    for item in items:
        by_source.setdefault(item.source, []).append(item)
    count = min(count, len(items))
    # Shares of the sources, as equal as their sizes allow.
    shares = dict.fromkeys(by_source, 0)
    while sum(shares.values()) < count:
        for source, found in by_source.items():
            if shares[source] < len(found) and sum(shares.values()) < count:
                shares[source] += 1
    return [
        found[i * len(found) // shares[source]] for source, found in by_source.items() for i in range(shares[source])
    ]


def _append(path: Any, row: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")
