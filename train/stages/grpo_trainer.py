"""TRL's GRPOTrainer with whole-group aggregation, rollout files, per-component figures and an exact resume.

With ``exact_trl`` and one ``math`` component of weight 1 every number is TRL's own: nothing here then touches
advantage, loss or sampling.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather, gather_object
from transformers import PrinterCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOConfig as TrlGrpoConfig
from trl.models.utils import unwrap_model_for_generation

from adhere.evaluation.backends.decoding import Decoding, decode
from adhere.evaluation.generation import draw_seed
from adhere.records.artifact import Artifact, Stopped, complete, complete_checkpoints
from adhere.records.tables import Row, rollout_columns, write_rollouts
from adhere.rewards.adherence import rate
from adhere.rewards.arithmetic import group_rewards, signal, values_array, weights_array
from adhere.rewards.composite import rollout_rows
from adhere.rewards.errors import StageError
from adhere.rewards.functions import RewardFunctions, reward_weights
from adhere.rewards.judge.usage import JudgeUsage
from adhere.rewards.verdict import Status
from adhere.train.config.schema import AdmissionConfig
from adhere.train.model.chat import prompt_ids
from adhere.train.stages.generation import (
    check_generated,
    decoding_of,
    drawing_of,
    generation_arguments,
    seeded_engine,
)
from adhere.train.stages.imitation import imitation_loss
from adhere.train.stages.rollout_stats import generation_figures, masked_shares
from adhere.train.stages.setup import Restore, random_state, trainer_arguments
from adhere.train.stages.trainer import ExactResume, JudgePause, State, raise_on_all_ranks
from adhere.train.stages.updates import PackedUpdates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from adhere.rewards.services import Outage
    from adhere.train.config.stage import StageSpec
    from adhere.train.stages.callbacks import FollowLiveShare
    from adhere.train.stages.curriculum import Curriculum
    from adhere.train.stages.imitation import Imitation
    from adhere.train.stages.ladder import Ladder
    from adhere.train.stages.monitors import Monitors, TrainingAudit
    from adhere.train.stages.relabel import Relabelling


GENERATING = "generating this step's rollouts"


def grpo_arguments(spec: StageSpec, artifact: Artifact) -> TrlGrpoConfig:
    """Return TRL's configuration of the stage.

    A groupwise aggregation arrives as one column whose groups already have mean 0, so that scaling by the batch gives
    GDPO's final whitening. A scheduled weight starts here at its first value; the trainer moves it on.
    """
    config, composite = spec.recipe.grpo, spec.recipe.rewards
    return TrlGrpoConfig(
        **{
            "num_generations": config.group_size,
            "max_completion_length": config.max_completion_length,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "beta": config.kl_coefficient,
            **config.trl_fields(),
            "reward_weights": reward_weights(composite, composite.weights(0, config.max_steps)),
            "scale_rewards": "batch" if composite.aggregator.groupwise else composite.scale,
            "chat_template_kwargs": spec.recipe.model.chat_template_kwargs or None,  # for a server's own template
            **generation_arguments(spec),
            **trainer_arguments(spec, artifact, config),
        }
    )


def refused_groups(rewards_G_N: torch.Tensor, config: AdmissionConfig) -> torch.Tensor:
    """Return which groups are not trained on, (G,): by default those whose rewards, (G, N), are all equal.

    What is NaN was not scored, and does not count.
    """
    scored_G_N = ~rewards_G_N.isnan()
    highest_G = rewards_G_N.masked_fill(~scored_G_N, -math.inf).amax(1)
    lowest_G = rewards_G_N.masked_fill(~scored_G_N, math.inf).amin(1)
    # Gaps between neighbours in order of reward; what is not scored stands at the end, and makes none.
    ordered_G_N = rewards_G_N.masked_fill(~scored_G_N, math.inf).sort(dim=1).values
    gaps_G_N = ordered_G_N.diff(dim=1).nan_to_num(0.0, posinf=0.0)
    distinct_G = 1 + (gaps_G_N > config.spread).sum(dim=1)
    return (highest_G - lowest_G <= config.spread) | (distinct_G < config.distinct)


class AdhereGRPOTrainer(ExactResume, PackedUpdates):
    """Adds to TRL's trainer what a composite reward needs.

    Below ``artifact`` go one parquet file per generation, and the checkpoints. ``max_clipped`` is the number of
    consecutive generations without any finished completion after which training stops. ``monitors`` watches
    every generation for drift, ``audit`` probes the composite where it is due, and ``follow`` scales the learning rate
    by the share of live groups. Rollouts are drawn by adhere's loop where it can (`generation.decoding_of`), unless
    ``exact_trl``: then by TRL, from its stream of random numbers. ``refills`` are the rounds in which groups without
    spread are replaced, and the difference of rewards that counts as none. ``curriculum`` chooses the prompts, and
    ``kl_follows`` lets the KL term follow the share of live groups. ``ladder`` decides how many of their requirements
    prompts ask for, ``admission`` which groups are trained on, and ``imitation`` adds an SFT loss.
    """

    def __init__(
        self,
        *,
        rewards: RewardFunctions,
        artifact: Artifact,
        max_clipped: int,
        monitors: Monitors | None = None,
        audit: TrainingAudit | None = None,
        follow: FollowLiveShare | None = None,
        exact_trl: bool = False,
        refills: tuple[int, float] | None = None,
        curriculum: Curriculum | None = None,
        kl_follows: bool = False,
        relabel: Relabelling | None = None,
        ladder: Ladder | None = None,
        admission: AdmissionConfig | None = None,
        imitation: Imitation | None = None,
        **arguments: Any,
    ) -> None:
        with seeded_engine(arguments["args"].seed):
            super().__init__(reward_funcs=[*rewards.as_list()], **arguments)
        self.remove_callback(PrinterCallback)
        if follow is not None:
            self.add_callback(follow)
        assert self.num_generations is not None
        self._group_size: int = self.num_generations
        self._data: Dataset = arguments["train_dataset"]
        self._text: PreTrainedTokenizerBase = arguments["processing_class"]
        self._generate_every: int = arguments["args"].steps_per_generation * self.num_iterations
        self._rewards = rewards
        self._rollouts_folder = artifact.rollouts
        self._max_clipped = max_clipped
        self._monitors, self._audit, self._follow = monitors, audit, follow
        self._clipped = 0
        self._passes = 0
        self._fed = (-1, 0)  # an optimizer step, and the first generation that fed it first
        self._rows: list[Row] = []
        self._masked: dict[str, float] = {}  # shares that vLLM's correction leaves out, by length
        self._flat = torch.zeros(0, dtype=torch.bool)  # rollouts whose whole group has one reward
        self._pause = JudgePause(rewards.composite.services, self.accelerator, artifact.stop)
        self._usage = JudgeUsage()
        self._curriculum = curriculum
        self._before_generation: Restore = self._moment()
        self._decoding = None if exact_trl else decoding_of(self)
        if refills is not None and self._decoding is None:
            raise StageError(
                "grpo.refill: TRL's own path generates here; see docs/generation.md, or set grpo.refill=false"
            )
        if curriculum is not None and self._decoding is None:
            raise StageError(
                "grpo.curriculum: TRL's own path generates here; see docs/generation.md, or set "
                "grpo.curriculum.every=null"
            )
        if kl_follows and not self.packs:
            raise StageError(
                "grpo.kl_follows: this loss keeps TRL's own micro-batches (docs/performance.md), whose KL term is "
                "fixed; use another loss or option, or set grpo.kl_follows=fixed"
            )
        if relabel is not None and not self.packs:
            raise StageError(
                "grpo.relabel: this loss keeps TRL's own micro-batches (docs/performance.md), which have no replays; "
                "use another loss or option, or set grpo.relabel.advantage=0"
            )
        self._refills, self._kl_follows, self._relabel = refills, kl_follows, relabel
        self._ladder, self._admission = ladder, admission or AdmissionConfig()
        self._imitation = imitation
        self._kept: tuple[list[list[int]], torch.Tensor] | None = None
        self._prompted: list[str] = []

    @property
    def _training(self) -> bool:
        assert self.model is not None
        return self.model.training

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        """Score this generation, here and once, in place of TRL's calls of functions; gathered from all ranks."""
        matrix = (
            self._scored(inputs, prompts, completions, completion_ids_list) if self._kept is None else self._kept[1]
        )
        self._kept = None
        self._stop_if_endless()
        composite = self._rewards.composite
        if composite.config.aggregator.groupwise:
            weights_1_K = weights_array(composite.config, composite.weights)
            combined_G_N = group_rewards(composite.config, self._values(), weights_1_K)
            matrix[:, -1] = torch.from_numpy(combined_G_N.ravel())
        rewards = (matrix * self.reward_weights.to(matrix.device)).nansum(1)
        rewards_G_N = rewards.masked_fill(matrix.isnan().all(1), math.nan).view(-1, self._group_size)
        flat_G = refused_groups(rewards_G_N, AdmissionConfig())
        if self._admission != AdmissionConfig():
            refused_G = refused_groups(rewards_G_N, self._admission)
            if self._training:
                self._metrics["train"]["admission/refused"].append(float((refused_G & ~flat_G).float().mean()))
            flat_G |= refused_G
        self._flat = flat_G.repeat_interleave(self._group_size)
        return matrix

    def _scored(self, inputs: Any, prompts: Any, completions: Any, completion_ids: Any) -> torch.Tensor:
        """Score this rank's rollouts; return the columns of all ranks, and leave their rows in ``_rows``.

        While too many rollouts are undecided because an endpoint is down, wait for it and score again.

        Raises:
            StageError: too many rollouts could not be scored; says the first reason that was given.
        """
        batch: Row = {key: [example[key] for example in inputs] for key in self._data.column_names}
        batch |= {"prompts": prompts, "completions": completions, "completion_ids": completion_ids}
        batch["trainer_state"] = self.state
        self._pause.begin()
        matrix = self._score(batch)
        while self._undecided_share() > self._allowed_share and (outage := self._pause.outage()):
            if not self._pause.outlast(outage):
                self._stop_for(outage)
            matrix = self._score(batch)
        share, allowed = self._undecided_share(), self._allowed_share
        if share > allowed:
            undecided = [row for row in self._rows if not row["decided"]]
            reasons = [
                f"{n}: {v['status']} {v['detail']}" for n, v in undecided[0]["verdicts"].items() if v["score"] is None
            ]
            raise StageError(
                f"{share:.0%} of this step's rollouts could not be scored (rewards.max_error_share is {allowed:.0%}); "
                f"first reason: {'; '.join(reasons)}"
            )
        return matrix

    def _score(self, batch: Row) -> torch.Tensor:
        """Score this rank's rollouts, and gather values and rows of all ranks; an error on one is raised on all."""

        columns: list[list[float | None]] = []

        def score() -> None:
            self._rewards.score(batch)
            columns.extend(self._rewards.columns())  # may run a user's aggregation, which may fail

        raise_on_all_ranks(score, "scoring this step's rollouts")
        scores = self._rewards.scores
        assert scores is not None
        values = [[math.nan if value is None else value for value in row] for row in zip(*columns, strict=True)]
        self._rows = gather_object(rollout_rows(self._rewards.composite, self._rewards.rollouts, scores))
        if scores.usage is not None:
            self._usage += sum(gather_object([scores.usage]), JudgeUsage())
        # As objects: ranks may score different numbers of rollouts.
        return torch.tensor(gather_object(values), dtype=torch.float32, device=self.accelerator.device)

    def _stop_for(self, outage: Outage) -> NoReturn:
        """Write a checkpoint as of before this generation, on all ranks, and stop.

        Raises:
            Stopped: the stage was asked to end while it waited.
            StageError: otherwise, always.
        """
        patience = self._rewards.composite.services.patience
        step = self.state.global_step
        kept = "nothing was trained yet" if step == 0 else f"step {step} is kept"
        folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{step}"
        if self._training and self._step % self.current_gradient_accumulation_steps:
            kept = "the last checkpoint is kept"
        elif self._training and step > 0 and not complete(folder).exists():
            self._before_generation()
            self._save_checkpoint(self.model, trial=None)
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)
        self.accelerator.wait_for_everyone()
        if self._pause.asked_to_stop:
            raise Stopped(max(complete_checkpoints(folder.parent), default=0))
        raise StageError(
            f"{outage.title} did not answer for {patience:g} s ({outage.keys[0]}); {kept}. Start the endpoint, or name "
            f"another {outage.keys[1]}, and run the same command again. Last reason: {outage.reason}"
        )

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        if self._rewards.composite.config.scheduled:
            self._follow_schedule()
        self._before_generation = self._moment()
        self._kept = None
        if self._training and self._decoding is not None and self._curriculum is not None:
            inputs = self._follow_curriculum(len(inputs), self._decoding, self._curriculum)
        if self._training and self._ladder is not None:
            inputs = [self._ladder.place(example, self._progress) for example in inputs]
        if self._training and self._decoding is not None and self._refills is not None:
            inputs = self._refill(inputs, self._decoding, *self._refills)
        self._prompted = [example["item_id"] for example in inputs]
        output = super()._generate_and_score_completions(inputs)
        if self._training:
            if self._curriculum is not None:
                self._curriculum.observe(self._rows)
            first = self.accelerator.process_index * len(inputs)
            admits = self._admission != AdmissionConfig()
            if admits or (self._packing is not None and self.multi_objective_aggregation == "sum_then_normalize"):
                # In float32 the mean of equal rewards may miss them by a hair, and TRL divides that by 1e-4.
                logged: Any = self._logs["advantages"]
                output["advantages"][self._flat[first : first + len(inputs)]] = 0.0
                for place in self._flat.nonzero().flatten().tolist():
                    logged[len(logged) - len(self._flat) + place] = 0.0
            if self._credit is not None:
                others = [json.loads(example["contrast"]) for example in inputs]
                prompts = [None if other is None else prompt_ids(self._text, other) for other in others]
                output["contrast_logps"] = self.contrast_log_probs(prompts, output)
            if self._distillation is not None:
                output |= self._distillation.said(inputs, self._rows, first, output)
            if self._relabel is not None:
                output |= self._relabel.replays(self._rows, first, output)
                replays = (output["replay_advantages"] != 0.0).float().mean().item()
                self._metrics["train"]["relabel/replayed"].append(replays)
            self._log_components()
            if self._ladder is not None:
                asked = self._ladder.observe(self._rows, self._group_size)
                self._metrics["train"]["ladder/requirements"].append(asked)
            if self._corrects_sampling:
                ratio, mask = output["importance_sampling_ratio"], output["completion_mask"]
                left_out = ((ratio == 0) * mask).sum(1) / mask.sum(1).clamp(min=1)
                shares = gather(torch.stack([mask.sum(1).float(), left_out], dim=1)).T.tolist()
                self._masked = masked_shares(*shares)
                log = self._metrics["train"]
                log["sampling/masked_share"].append(sum(shares[1]) / len(shares[1]))
                for name, share in self._masked.items():
                    log[f"sampling/{name}"].append(share)
            if self.accelerator.is_main_process:
                advantages = list(self._logs["advantages"])[-len(self._rows) :]
                step = self.state.global_step
                generation = self._step // self._generate_every
                columns = rollout_columns(
                    self._rows, advantages, step=step, generation=generation, group_size=self._group_size
                )
                if self._fed[0] != step:
                    self._fed = (step, generation)
                nth = generation - self._fed[1]
                write_rollouts(self._rollouts_folder, step, columns, nth=nth)
            self._watch()
        return output

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Add the SFT loss, where there is one, to the last slot of an optimizer step."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self._imitation is not None and self.accelerator.sync_gradients:
            rank, device = self.accelerator.process_index, self.accelerator.device
            ranks = self.accelerator.num_processes
            batch = self._imitation.batch(self.args.seed, self.state.global_step, rank, ranks, device)
            weight = self._imitation.weight(self._progress)
            with self.compute_loss_context_manager():
                own = weight * imitation_loss(model, batch)
            self.accelerator.backward(own)
            self._metrics["train"]["imitation/loss"].append(own.item() / weight if weight else 0.0)
            self._metrics["train"]["imitation/weight"].append(weight)
            loss = loss + own.detach()
        return loss

    @property
    def _progress(self) -> float:
        return float(self.state.global_step / self.state.max_steps)

    def _moment(self) -> Restore:
        """Return a function that undoes what a generation changes: random states, and what it logs."""
        randomness, seen = random_state(), self.state.num_input_tokens_seen
        logged = {name: list(values) for name, values in self._metrics["train"].items()}
        curriculum = None if self._curriculum is None else self._curriculum.state()

        def restore() -> None:
            randomness()
            if self._curriculum is not None and curriculum is not None:
                self._curriculum.load_state(curriculum)
            self.state.num_input_tokens_seen = seen
            self._metrics["train"].clear()
            self._metrics["train"].update(logged)

        return restore

    def _follow_schedule(self) -> None:
        """Let TRL weigh, and log, this generation by the weights of the optimizer step that it feeds first."""
        self._rewards.composite.at(self.state.global_step, self.state.max_steps)
        self.reward_weights = torch.tensor(self._rewards.weights(), dtype=torch.float32)

    def _generate_single_turn(self, prompt_ids: Any, *arguments: Any, **named: Any) -> Any:
        if self._kept is not None:
            return self._kept[0], None
        if self._decoding is not None:
            first = self.accelerator.process_index * len(prompt_ids)
            return self._draw(prompt_ids, self._prompted, range(first, first + len(prompt_ids)), self._decoding), None
        generated = super()._generate_single_turn(prompt_ids, *arguments, **named)
        raise_on_all_ranks(lambda: check_generated(prompt_ids, generated[0]), GENERATING)
        return generated

    def _draw(self, prompt_ids: Any, items: Sequence[str], places: Sequence[int], how: Decoding) -> list[list[int]]:
        """Draw a rollout for each prompt; ``items`` are their ids, ``places`` those among the rollouts of all ranks.

        A rollout's noise belongs to the generation, the prompt, and the member of the group.
        """
        generation = self._step // self._generate_every
        seeds = [
            draw_seed(self.args.seed, generation, item, place % self._group_size)
            for item, place in zip(items, places, strict=True)
        ]
        completions: list[list[int]] = []

        def draw() -> None:
            # Without dropout, and cast once: the context is around the whole loop, for leaving it forgets the casts.
            kwargs = cast("Any", self.args).gradient_checkpointing_kwargs
            with (
                unwrap_model_for_generation(
                    self.model_wrapped, self.accelerator, gradient_checkpointing_kwargs=kwargs
                ) as model,
                self.accelerator.autocast(),
            ):
                training = model.training
                model.eval()
                try:
                    completions.extend(decode(model, prompt_ids, seeds, how, drawing=drawing_of(self)))
                finally:
                    model.train(training)

        raise_on_all_ranks(draw, GENERATING)
        return completions

    def _drawn_and_scored(
        self, offered: list[Row], places: Sequence[int], how: Decoding, *, noise: str = ""
    ) -> tuple[list[list[int]], torch.Tensor]:
        """Return this rank's completions of the prompts ``offered``, and all ranks' columns; rows go to ``_rows``.

        Args:
            offered: this rank's examples, one a rollout.
            places: of each among the rollouts of all ranks.
            how: how tokens are chosen.
            noise: tells draws of one prompt in one generation apart.
        """
        prompts = [example["prompt"] for example in offered]
        prompt_ids = self._tokenize_prompts(prompts)[0] if prompts else []
        drawn = self._draw(prompt_ids, [noise + example["item_id"] for example in offered], places, how)
        texts = self._text.batch_decode(drawn, skip_special_tokens=True)
        completions = [[{"role": "assistant", "content": text}] for text in texts]
        return drawn, self._scored(offered, prompts, completions, drawn)

    def _follow_curriculum(self, rollouts: int, how: Decoding, curriculum: Curriculum) -> list[Row]:
        """Measure the kinds of constraints where that is due; return this rank's examples of the prompts chosen.

        Args:
            rollouts: of this rank in a generation.
            how: how tokens are chosen.
            curriculum: chooses them.
        """
        size, ranks, rank = self._group_size, self.accelerator.num_processes, self.accelerator.process_index
        generation, step = self._step // self._generate_every, self.state.global_step
        if curriculum.due(step):
            # As many rollouts on every rank and at a time as it draws to train on, so that memory suffices.
            missing = [place for place in curriculum.missing(generation) for _ in range(size)]
            for start in range(0, len(missing), rollouts * ranks):
                part = missing[start : start + rollouts * ranks]
                mine = range(rank * len(part) // ranks, (rank + 1) * len(part) // ranks)
                self._drawn_and_scored([self._data[part[i]] for i in mine], mine, how, noise="rehearsed ")
                curriculum.observe(self._rows)
            curriculum.measure(step)
            self._metrics["train"]["curriculum/rehearsed"].append(float(len(missing)))
            for name, figure in curriculum.figures().items():
                self._metrics["train"][f"curriculum/{name}"].append(figure)
        chosen = curriculum.choose(rollouts * ranks // size, generation, step / self.state.max_steps)
        return [self._data[chosen[(rank * rollouts + i) // size]] for i in range(rollouts)]

    def _refill(self, inputs: list[Row], how: Decoding, rounds: int, resolution: float) -> list[Row]:
        """Draw and score a generation, its groups without spread replaced by ones of fresh prompts; return its inputs.

        What was drawn and scored waits in ``_kept`` for TRL, which asks for both. It all comes from the same weights.

        A group that admission refuses has no spread either.

        Args:
            inputs: this rank's examples, one a rollout.
            how: how tokens are chosen.
            rounds: times that fresh prompts are drawn, at most.
            resolution: greatest difference of a group's rewards that counts as none.
        """
        size, config = self._group_size, self._rewards.composite.config
        first = self.accelerator.process_index * len(inputs)

        def attempt(
            offered: list[Row], places: list[int]
        ) -> tuple[list[list[int]], torch.Tensor, list[Row], list[int]]:
            """Return this rank's completions, and of all ranks the columns, the rows, and the groups without spread."""
            drawn, matrix = self._drawn_and_scored(offered, places, how)
            weights_1_K = weights_array(config, self._rewards.composite.weights)
            rewards_G_N = group_rewards(config, self._values(), weights_1_K)
            spread_G = np.fmax.reduce(rewards_G_N, axis=1) - np.fmin.reduce(rewards_G_N, axis=1)
            flat_G = ~(spread_G > resolution + 1e-9)
            if self._admission != AdmissionConfig():
                flat_G |= refused_groups(torch.from_numpy(rewards_G_N).float(), self._admission).numpy()
            flat = np.flatnonzero(flat_G).tolist()
            return drawn, matrix, self._rows, flat

        inputs = list(inputs)
        places = list(range(first, first + len(inputs)))
        drawn, matrix, rows, flat = attempt(inputs, places)
        taken = {row["item_id"] for row in rows}
        generation = self._step // self._generate_every
        shuffle = np.random.default_rng(draw_seed(self.args.seed, generation, "refill"))
        pool: Sequence[int] = range(len(self._data))
        if self._curriculum is not None:
            pool, _ = self._curriculum.pool(self.state.global_step / self.state.max_steps)
        order = shuffle.permutation(pool)
        fresh = (self._data[int(place)] for place in order)
        if (ladder := self._ladder) is not None:
            fresh = (ladder.place(example, self._progress) for example in fresh)
        fresh = (example for example in fresh if example["item_id"] not in taken)
        groups, replaced, spare = len(rows) // size, 0, 0
        for _ in range(rounds):
            offer = dict(zip(flat, fresh, strict=False))  # by the group that each may replace
            if not offer:
                break
            groups += len(offer)
            mine = [place for place in places if place // size in offer]
            again, columns, new, poor = attempt([offer[place // size] for place in mine], mine)
            better = {group: nth for nth, group in enumerate(offer) if nth not in poor}
            for nth, group in enumerate(offer):
                old, own = slice(group * size, (group + 1) * size), slice(nth * size, (nth + 1) * size)
                spare += sum(row["tokens"] for row in (rows[old] if group in better else new[own]))
                if group in better:
                    rows[old], matrix[old] = new[own], columns[own]
            for place, completion in zip(mine, again, strict=True):
                if place // size in better:
                    inputs[place - first], drawn[place - first] = offer[place // size], completion
            replaced += len(better)
            flat = [group for group in flat if group not in better]
        self._rows, self._kept = rows, (drawn, matrix)
        names = ("groups_drawn", "groups_replaced", "groups_flat", "surplus_tokens")
        for name, figure in zip(names, (groups, replaced, len(flat), spare), strict=True):
            self._metrics["train"][f"refill/{name}"].append(float(figure))
        return inputs

    def _values(self) -> np.ndarray:
        """Return the values of this generation's rollouts over all ranks, (G, N, K); see `rewards.arithmetic`."""
        values, size = [row["values"] for row in self._rows], self._group_size
        groups = [values[i : i + size] for i in range(0, len(values), size)]
        return values_array(self._rewards.composite.config, groups)

    def _watch(self) -> None:
        """Show this generation to the drift monitors, on all ranks alike, and log what they say."""
        if self._monitors is None:
            return
        step = self.state.global_step
        audited: list[list[str]] = [[]]
        if self._audit is not None and self._audit.due(step):
            if self.accelerator.is_main_process:
                audited = [self._audit([row["item_id"] for row in self._rows], self._rewards.composite)]
            broadcast_object_list(audited)
        advantages = list(self._logs["advantages"])[-len(self._rows) :]
        figures = generation_figures(self._rows, advantages, self._group_size, self._judged) | self._masked
        for name, value in self._monitors.observe(step, figures, audited[0]).items():
            self._metrics["train"][name].append(value)

    @property
    def _judged(self) -> str | None:
        """Name of the first component that only a judge decides."""
        components = self._rewards.composite.config.components
        judges = self._rewards.composite.judges
        return next((n for n, c in components.items() if judges.of(n) is not None and c.decides is None), None)

    def _stop_if_endless(self) -> None:
        """Stop, on all ranks alike, where the model never ends a response.

        Raises:
            StageError: says so, and what to change.
        """
        if not self._training:
            return
        self._clipped = 0 if any(row["finished"] for row in self._rows) else self._clipped + 1
        if self._clipped >= self._max_clipped:
            raise StageError(
                f"no completion ended by itself in {self._clipped} consecutive steps (clipped ratio 1.0), so "
                f"nothing can be learned: raise grpo.max_completion_length, or train SFT until it ends its responses"
            )

    @property
    def _allowed_share(self) -> float:
        return self._rewards.composite.config.max_error_share

    def _undecided_share(self) -> float:
        return sum(not row["decided"] for row in self._rows) / len(self._rows)

    def _log_components(self) -> None:
        """Log what every component scored, cost and weighed, and its share of the advantages."""
        log, composite, values_G_N_K = self._metrics["train"], self._rewards.composite, self._values()
        found = signal(composite.config, values_G_N_K, weights_array(composite.config, composite.weights))
        live_G = found.live
        if self._admission != AdmissionConfig():
            live_G = live_G & ~self._flat[:: self._group_size].cpu().numpy()
        log["live_share"].append(float(live_G.mean()))
        if self._follow is not None:
            self._follow.share = log["live_share"][-1]
        if self._kl_follows:
            self.kl_share = log["live_share"][-1]
        # Groups in which a component gives every scored rollout the same value, or scores none.
        flat_G_K = ~(np.fmax.reduce(values_G_N_K, axis=1) > np.fmin.reduce(values_G_N_K, axis=1))
        for k, name in enumerate(composite.names):
            verdicts = [row["verdicts"][name] for row in self._rows]
            scores = [v["score"] for v in verdicts if v["score"] is not None]
            mean = rate(scores)
            spread = math.sqrt(sum((s - mean) ** 2 for s in scores) / len(scores)) if scores else math.nan
            figures = {
                "mean": mean,
                "std": spread,
                "scored": len(scores) / len(verdicts),
                "zero_spread_groups": float(flat_G_K[:, k].mean()),
                "errors": float(sum(v["status"] in (Status.ERROR, Status.UNPARSED) for v in verdicts)),
                "timeouts": float(sum(v["status"] == Status.TIMEOUT for v in verdicts)),
                "seconds": sum(row["seconds"][name] for row in self._rows),
                "weight": composite.weights[name],
                "advantage_share": found.shares[name],
            }
            for figure, value in figures.items():
                log[f"components/{name}/{figure}"].append(value)
        if self._rewards.composite.judges:
            for figure, value in self._usage.to_dict().items():
                log[f"judge/{figure}"].append(value)
            self._usage = JudgeUsage()
        headline = {"accuracy": "correct", "hacc": "followed", "joint": "joint"}
        rates = {name: rate(row[key] for row in self._rows) for name, key in headline.items()}
        for name, value in rates.items():
            log[f"rates/{name}"].append(value)
        if self.held_out is None:
            self.best.observe(rates | {"reward": log["reward"][-1]})

    def resume(self, checkpoint: Path | None) -> None:
        """Train from ``checkpoint``, or from the start; the monitors forget what came after it."""
        if self._monitors is not None:
            self._monitors.resume(int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
        super().resume(checkpoint)

    def checkpoint_state(self) -> State:
        """Add the step within a generation, the completions still to be trained on, and what else has a state."""
        own: State = {"step": self._step, "buffer": self._buffered_inputs, "clipped": self._clipped}
        own |= {} if self._follow is None else {"live_share": self._follow.share}
        own |= {"kl_share": self.kl_share} if self._kl_follows else {}
        own |= {} if self._curriculum is None else {"curriculum": self._curriculum.state()}
        own |= {} if self._ladder is None else {"climbed": self._ladder.climbed}
        if self._distillation is not None and self.accelerator.is_main_process:  # the same on every rank
            own["teacher"] = self._distillation.state()
        if self.args.sync_ref_model:
            own["reference"] = self.accelerator.unwrap_model(self.ref_model).state_dict()
        return super().checkpoint_state() | own

    def _adapt(self, state: State, files: Sequence[Path], step: int) -> None:
        """Count micro-batches as these ranks do, and draw anew what the others had drawn and not yet trained on."""
        super()._adapt(state, files, step)
        state["step"], state["buffer"] = step * int(self.args.gradient_accumulation_steps), None

    def load_checkpoint_state(self, state: State, checkpoint: Path) -> None:
        super().load_checkpoint_state(state, checkpoint)
        self._step, self._buffered_inputs, self._clipped = state["step"], state["buffer"], state["clipped"]
        if self._follow is not None:
            self._follow.share = state["live_share"]
        self.kl_share = state.get("kl_share", 1.0)
        if self._curriculum is not None:
            self._curriculum.load_state(state["curriculum"])
        if self._distillation is not None:
            first = torch.load(checkpoint / "rank_state_0.pt", map_location="cpu", weights_only=True)
            self._distillation.load_state(first["teacher"])
        if self._ladder is not None:
            self._ladder.climbed = state["climbed"]
        if self.args.sync_ref_model:
            self.accelerator.unwrap_model(self.ref_model).load_state_dict(state["reference"])
        self._passes = math.floor(TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).epoch or 0.0)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """Return TRL's sampler, which draws a new order for every pass, as it is after the passes that are over."""
        sampler = super()._get_train_sampler(dataset)
        for _ in range(self._passes):
            next(iter(sampler))
        return sampler
