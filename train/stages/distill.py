"""On-policy distillation: what teachers say of each token of the policy's own rollouts, as an advantage or as a loss.

The advantage of token t is r·A + c·(log π_T(y_t) − log π_S(y_t)), with A the reward's advantage and π_S the policy that
drew the token (MOPD, arXiv 2601.02780; its mixture with a reward as in ms-swift). In the forms of a whole distribution
c·KL is a loss of each token instead. One teacher a prompt, by its route. Everything else is GRPO's. A teacher may be
shown more than the policy; with λ > 0 log π_T gets λ times the differences that each requirement makes to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adhere.prompts.privileged import (
    feedback_note,
    left_out,
    requirements_note,
    solution_note,
    with_note,
)
from adhere.rewards.errors import ConfigError, StageError
from adhere.train.model.chat import prompt_ids
from adhere.train.model.load import context_length
from adhere.train.stages.microbatches import Microbatch, Rows, left_padded
from adhere.train.stages.teachers import Teachers, copied, load_teachers, move_to, teacher_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.records.tables import Row
    from adhere.train.config.stage import StageSpec
    from adhere.train.stages.microbatches import Slot

TOKENS_AT_ONCE = 256
"""Tokens whose whole distributions are in memory at once."""

SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
"""What changes logits after the head in some models."""


class Distillation(TrainerCallback):
    """The teachers of a stage, and what they say to its rollouts; the trainer calls it."""

    def __init__(self, spec: StageSpec, items: Sequence[PromptItem], tokenizer: PreTrainedTokenizerBase) -> None:
        """Look at the prompts before anything is loaded.

        Raises:
            ConfigError: a prompt that a teacher is shown leaves no room for a completion in the model's context.
            DataError: the requirements of a prompt are to be left out, and cannot be taken out of it.
        """
        self.config, self._model, self._tokenizer = spec.recipe.distill, spec.recipe.model, tokenizer
        self._paths = [*spec.models.get("teachers", []), *self.config.models]
        self._items = {item.id: item for item in items}
        self._routes = self.config.routes or ["all"]
        self._teachers = Teachers([], [])
        self._trainer: Any = None
        self._copy: Any = None
        self._moving: dict[str, torch.Tensor] = {}  # weights of the copy that follow the policy's
        self._withheld = self._too_long = 0
        self._context, limit = context_length(self._model, self._model.path), spec.recipe.grpo.max_completion_length
        for item in items if self.config.constraint_weight else ():
            left_out(item)  # raises where a prompt cannot be asked without its requirements
        if self.config.context in ("solution", "requirements") and self._context is not None:
            longest = max(len(self._shown(item, {}, [], 0) or []) for item in items)
            if longest + limit > self._context:
                raise ConfigError(
                    f"grpo.max_completion_length: {limit} and the longest prompt that a teacher is shown, {longest} "
                    f"tokens, exceed the model's context of {self._context}; lower it"
                )

    def begin(self, trainer: Any) -> None:
        """Load the teachers of ``trainer``, a `PackedUpdates`; the policy is copied as it is now."""
        if self.config.teacher == "self":
            self._copy = copied(trainer.model)
            trained = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
            if self.config.ema > 0.0:
                self._moving = {name: weight for name, weight in self._copy.named_parameters() if name in trained}
            self._teachers = Teachers([self._copy], [None])
        else:
            self._teachers = load_teachers(
                self._model,
                self._paths,
                self._tokenizer,
                temperature=trainer.temperature,
                device=trainer.accelerator.device,
            )
        self._temperature, self._autocast = trainer.temperature, trainer.accelerator.autocast
        self._trainer = trainer
        trainer.add_callback(self)
        changed = [key for key in SCALED_LOGITS if getattr(trainer.model.config, key, None) not in (None, 1.0)]
        if self.config.form != "sampled" and changed:
            raise StageError(
                f"distill.form: {self.config.form} compares logits as the head makes them, and this model changes them "
                f"afterwards ({changed[0]}); use form=sampled"
            )

    def said(self, examples: Sequence[Row], rows: Sequence[Row], first: int, output: Slot) -> Slot:
        """Return what the update needs of the teachers of a generation's rollouts, and scale the reward's advantages.

        Args:
            examples: this rank's prompts, one for each rollout.
            rows: the scored rollouts of all ranks.
            first: place among them of this rank's first.
            output: this rank's rollouts, with their advantages.
        """
        config, size = self.config, self._trainer.num_generations
        output["advantages"] = output["advantages"] * config.reward
        items = [self._items[example["item_id"]] for example in examples]
        numbers = [teacher_of(item, self._routes) for item in items]
        self._withheld = self._too_long = 0
        prompts = []
        for place, item in enumerate(items, first):
            group = rows[place - place % size : place - place % size + size]
            prompts.append(self._shown(item, rows[place], group, rows[place]["tokens"]))
        numbers = [None if prompt is None else number for number, prompt in zip(numbers, prompts, strict=True)]

        device = output["completion_ids"].device
        taught = torch.tensor([number is not None for number in numbers], device=device)
        self._log("taught", taught.float().mean())
        if config.context == "feedback":
            self._log("withheld", torch.tensor(float(self._withheld)))
            self._log("too_long", torch.tensor(float(self._too_long)))
        target = torch.full(output["completion_ids"].shape, torch.nan, device=device)
        for number in sorted({number for number in numbers if number is not None}):
            kept = [i for i, own in enumerate(numbers) if own == number]
            with self._teachers.asked(number) as model:
                target[kept] = self._trainer.log_probs_behind(model, prompts, output, kept)[kept]
                if config.constraint_weight:
                    apart = self._constraint_differences(model, items, kept, output)
                    target[kept] += config.constraint_weight * apart[kept]
        found: Slot = {"guided": taught & (config.coefficient > 0.0), "teacher_logps": target}
        if config.form != "sampled":
            found["teacher_ids"], found["teacher_mask"] = left_padded(prompts, device)
            found["teacher_number"] = torch.tensor([-1 if n is None else n for n in numbers], device=device)
        return found

    def _shown(self, item: PromptItem, row: Row, group: Sequence[Row], completion: int) -> list[int] | None:
        """Return the prompt that a teacher sees, as token ids; ``None`` where it has nothing to say.

        Where feedback leaves no room for the completion, it loses its sibling; else the rollout has no teacher.

        Args:
            item: the rollout's prompt.
            row: the scored rollout.
            group: all rollouts of the prompt.
            completion: tokens of the rollout.
        """
        match self.config.context:
            case "none":
                return prompt_ids(self._tokenizer, item.messages)
            case "solution":
                notes = [solution_note(item)]
            case "requirements":
                notes = [requirements_note(item)]
            case "feedback":
                notes = [feedback_note(item, row, group, sibling) for sibling in (self.config.sibling, "never")]
        self._withheld += notes[0].withheld
        for note in notes:
            if note.text is None:
                return None
            ids = prompt_ids(self._tokenizer, with_note(item.messages, note.text))
            if self.config.context != "feedback" or self._context is None or len(ids) + completion <= self._context:
                return ids
        self._too_long += 1
        return None

    def _constraint_differences(
        self, model: Any, items: Sequence[PromptItem], kept: Sequence[int], output: Slot
    ) -> torch.Tensor:
        """Return Σᵢ ℓ(C) − ℓ(C without cᵢ) at each token, clipped, (B, C); 0 where a prompt has no requirements.

        Args:
            model: the teacher, whose log-probs ℓ are.
            items: the prompt of each rollout.
            kept: rollouts that it teaches.
            output: the rollouts.
        """
        found = torch.zeros(output["completion_ids"].shape, device=output["completion_ids"].device)
        asked = [i for i in kept if items[i].checklist]
        versions = {i: left_out(items[i]) for i in asked}

        def scored(prompts: dict[int, PromptItem]) -> torch.Tensor:
            ids = [
                prompt_ids(self._tokenizer, prompts[i].messages) if i in prompts else None for i in range(len(items))
            ]
            return self._trainer.log_probs_behind(model, ids, output, sorted(prompts)).nan_to_num(0.0)

        whole = scored({i: versions[i][0] for i in asked})
        for nth in range(max((len(items[i].checklist) for i in asked), default=0)):
            without = {i: versions[i][1][nth] for i in asked if nth < len(versions[i][1])}
            some = sorted(without)
            found[some] += whole[some] - scored(without)[some]
        return found.clamp(-self.config.constraint_clip, self.config.constraint_clip)

    def twins(self, slots: Sequence[Slot]) -> Rows | None:
        """Return the rows of a window behind the prompts that their teachers see, where whole distributions count."""
        if self.config.form == "sampled" or self.config.coefficient == 0.0:
            return None
        self._numbers: list[int] = []
        behind = []
        for slot in slots:
            if "teacher_number" not in slot:  # replays of failures have no teacher
                self._numbers += [-1] * len(slot["completion_ids"])
                behind.append(slot)
                continue
            self._numbers += slot["teacher_number"].tolist()
            behind.append({**slot, "prompt_ids": slot["teacher_ids"], "prompt_mask": slot["teacher_mask"]})
        return Rows.of(behind)

    def heard(self, log_ratio_N: torch.Tensor, batch: Microbatch) -> torch.Tensor:
        """Return which tokens listen to their teacher, (N,): those that have one and are within ``ratio_bounds``.

        Args:
            log_ratio_N: log of each token's probability now over that when it was drawn, (N,).
            batch: its tokens.
        """
        assert batch.teacher is not None
        taught = ~batch.teacher.isnan()
        if self.config.ratio_bounds is None:
            return taught
        low, high = self.config.ratio_bounds
        ratio = log_ratio_N.exp() if batch.ratio is None else log_ratio_N.exp() * batch.ratio
        within = (ratio >= low) & (ratio <= high)
        self._log("gated", (taught & ~within).sum() / taught.sum().clamp(min=1))
        return taught & within

    def credit(self, old_N: torch.Tensor, heard_N: torch.Tensor, batch: Microbatch) -> torch.Tensor:
        """Return what the teachers add to the advantages, (N,).

        Args:
            old_N: log-probs of the tokens under the policy that drew them, (N,).
            heard_N: which tokens listen, (N,).
            batch: its tokens.
        """
        assert batch.teacher is not None
        gap = torch.where(heard_N, batch.teacher - old_N, 0.0)
        if bool(heard_N.any()):
            self._log("kl", -gap.sum() / heard_N.sum())
        return gap * (self.config.coefficient if self.config.form == "sampled" else 0.0)

    def divergence(self, policy: Any, heard_N: torch.Tensor, batch: Microbatch) -> torch.Tensor:
        """Return c times the divergence between policy and teacher at each token, (N,).

        Args:
            policy: the model that is trained, unwrapped.
            heard_N: which tokens listen, (N,).
            batch: its tokens, with the hidden states that they were scored from.
        """
        assert batch.twins is not None and batch.hidden is not None
        found = torch.zeros_like(batch.weights[batch.row])
        for number in range(len(self._teachers)):
            places = [place for place, row in enumerate(batch.rows) if self._numbers[row] == number]
            if not places:
                continue
            rows = [batch.rows[place] for place in places]
            theirs = Microbatch.of(batch.twins, rows, torch.ones_like(batch.twins.advantages))
            with self._teachers.asked(number) as teacher:
                self._trainer._log_probs(teacher, theirs)
            assert theirs.hidden is not None
            heads = policy.get_output_embeddings(), teacher.get_output_embeddings()
            own = torch.isin(batch.row, torch.tensor(places, device=batch.row.device)).nonzero().flatten()
            parts = (tensor.split(TOKENS_AT_ONCE) for tensor in (own, batch.hidden[own], theirs.hidden))
            for tokens, hidden, other in zip(*parts, strict=True):
                with self._autocast():
                    each: Any = checkpoint(
                        divergence, *heads, hidden, other, self._temperature, self.config.form, use_reentrant=False
                    )
                found = found.index_put((tokens,), each)
        return self.config.coefficient * torch.where(heard_N, found, 0.0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A copy of the policy follows it."""
        if self._moving:
            move_to(self._moving, self._trainer.accelerator.unwrap_model(kwargs["model"]), self.config.ema)

    def state(self) -> Slot:
        """Return what a checkpoint has to hold: the weights of a copy that moves."""
        return {name: weight.detach() for name, weight in self._moving.items()}

    def load_state(self, state: Slot) -> None:
        """Set what ``state`` returned."""
        for name, value in state.items():
            self._moving[name].data.copy_(value)

    def _log(self, name: str, value: torch.Tensor) -> None:
        self._trainer._metrics["train"][f"distill/{name}"].append(value.item())


def divergence(
    policy_head: Any,
    teacher_head: Any,
    policy_N_H: torch.Tensor,
    teacher_N_H: torch.Tensor,
    temperature: float,
    form: str,
) -> torch.Tensor:
    """Return KL(policy‖teacher) or KL(teacher‖policy) at each token, in nats, (N,).

    Args:
        policy_head: hidden states to logits.
        teacher_head: the same of the teacher.
        policy_N_H: hidden states of the policy.
        teacher_N_H: of the teacher; its width may differ.
        temperature: what logits are divided by.
        form: ``reverse_kl`` or ``forward_kl``.
    """
    logits = policy_head(policy_N_H).float(), teacher_head(teacher_N_H).float().detach()
    width = min(each.size(-1) for each in logits)  # beyond the vocabulary heads are padded
    own, other = (torch.log_softmax(each[:, :width] / temperature, dim=-1) for each in logits)
    weights, gap = (own.exp(), own - other) if form == "reverse_kl" else (other.exp(), other - own)
    return (weights * gap).sum(-1)
