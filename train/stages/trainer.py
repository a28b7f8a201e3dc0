"""What the trainers share: an exact resume, errors that stop all ranks together, and the wait for an endpoint."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, gather_object, set_seed
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from adhere.records.artifact import checkpoint_damage, complete, newest_checkpoint
from adhere.rewards.errors import StageError
from adhere.rewards.services import Outage, Services
from adhere.train.stages.average import WeightAverage
from adhere.train.stages.best_checkpoint import Best, State
from adhere.train.stages.sft_updates import PackedSft
from adhere.train.stages.token_choice import chosen_tokens

IGNORED = -100
"""Label of a token that no loss counts."""

PROBE_EVERY = 5.0
"""Seconds between two probes."""

WHOLE_WEIGHTS = "ddp or single"
"""The engine whose checkpoints hold whole weights and optimizer states, whatever the number of ranks."""


class Measures(Protocol):
    """An evaluation while training, as the trainer sees it."""

    ended: bool

    def state(self) -> State:
        """Return what a checkpoint has to hold to go on with it."""
        ...

    def load_state(self, state: State, step: int) -> None:
        """Go on from what ``state`` returned at ``step``."""
        ...


class ExactResume(Trainer):
    """A trainer that goes on from a checkpoint as if it had never stopped, in its weights and in what it logs.

    transformers restores weights, optimizer, schedule, random states and the place in the data. To these this adds the
    loss, the count of tokens, the figures gathered since the last logged row, and that a checkpoint of the last step is
    not trained further. Subclasses add to ``checkpoint_state`` and ``load_checkpoint_state``.

    Where every rank holds whole weights, another number of ranks goes on with the same global batches in the same
    order. What belongs to a single rank, its random states above all, begins anew: the result is close, not equal.
    """

    held_out: Measures | None = None
    """The evaluation while training, where there is one."""

    best: Best
    """Which checkpoint is the best so far."""

    ranks: list[tuple[int, int]]
    """The optimizer steps from which on another number of ranks trained, each with that number."""

    average: WeightAverage | None = None
    """The moving average of the weights, where one is handed over."""

    _metrics: dict[str, Any]
    _total_train_tokens: int = 0
    _resumed: State | None = None
    _reseeded: int | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.best = Best(int(self.args.save_steps))
        self.ranks = [(0, self.accelerator.num_processes)]

    def resume(self, checkpoint: Path | None) -> None:
        """Train from ``checkpoint``, or from the start.

        Raises:
            StageError: the checkpoint was written under another engine, or by other ranks that shared the weights.
        """
        if checkpoint is not None:
            device, ranks = self.accelerator.device, self.accelerator.num_processes
            where = "cpu" if device.type == "cpu" else device  # a rank calls its CPU cpu:0, which torch cannot load to
            files = sorted(checkpoint.glob("rank_state_*.pt"))
            if not files:
                raise StageError(f"{checkpoint}: holds no rank_state_*.pt; remove it")
            same = len(files) == ranks
            path = self._state_file(checkpoint) if same else checkpoint / "rank_state_0.pt"
            self._resumed = torch.load(path, map_location=where, weights_only=True)
            step = int(checkpoint.name.rpartition("-")[2])
            self.ranks = [(int(a), int(b)) for a, b in self._resumed.get("ranks", [(0, len(files))])]
            if self._resumed["engine"] != (own := self._engine()):
                raise StageError(
                    f"{checkpoint}: was written under {self._resumed['engine']}, and this run trains under {own}, "
                    f"which cannot go on from it; use that strategy again, or remove {checkpoint.parent} to start anew"
                )
            if not same and own != WHOLE_WEIGHTS:
                raise StageError(
                    f"{checkpoint}: was written by {len(files)} ranks under {own}, where each holds a part, and "
                    f"{ranks} cannot go on from it; use {len(files)} again, or remove {checkpoint.parent} to start anew"
                )
            if not same:
                self._adapt(self._resumed, files, step)
            self.load_checkpoint_state(self._resumed, checkpoint)
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def _adapt(self, state: State, files: Sequence[Path], step: int) -> None:
        """Make the ``state`` that the first of other ranks left at ``step`` that of each of these."""
        before, ranks = len(files), self.accelerator.num_processes
        others = [torch.load(file, map_location="cpu", weights_only=True)["loss"] for file in files]
        state["loss"] = torch.stack([loss.to(state["loss"].device) for loss in others]).mean()
        self.ranks.append((step, ranks))
        self._reseeded = step
        if self.accelerator.is_main_process:
            print(
                f"\nadhere: note: ranks that reached step {step}: {before}; that go on from it: {ranks}. They train on "
                f"the same batches in the same order, to a result that is close and not equal to the bit",
                file=sys.stderr,
                flush=True,
            )

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Restore the random states; those of other ranks are left, and new ones begin that no earlier step had.

        transformers calls it once, after the order of the data is set up, which hangs on the seed that was set last.
        """
        super()._load_rng_state(checkpoint)
        if self._reseeded is not None:
            set_seed(int(self.args.seed) + self._reseeded, device_specific=True)
            self._reseeded = None

    def checkpoint_state(self) -> State:
        """Return what a checkpoint has to hold besides transformers' own files; tensors and plain values."""
        return {
            "engine": self._engine(),
            "ranks": self.ranks,
            "loss": self._tr_loss,
            "losses": self._total_loss_scalar,
            "logged": self._globalstep_last_logged,
            "metrics": {name: list(values) for name, values in self._metrics["train"].items()},
            "tokens": self._total_train_tokens,
            "best": self.best.state(),
            **({} if self.held_out is None else {"held_out": self.held_out.state()}),
            **({} if self.average is None else {"average": self.average.weights}),
        }

    def load_checkpoint_state(self, state: State, checkpoint: Path) -> None:
        """Set what ``checkpoint_state`` returned when ``checkpoint`` was written, before training starts."""
        self._metrics["train"].update(state["metrics"])
        self._total_train_tokens = state["tokens"]
        self.best.load_state(state["best"])
        if self.held_out is not None and "held_out" in state:
            self.held_out.load_state(state["held_out"], int(checkpoint.name.rpartition("-")[2]))
        if self.average is not None:
            self.average.weights = state["average"]

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Add ``figures`` to the next row that is logged; a row has the mean of those added since the one before."""
        for name, value in figures.items():
            self._metrics["train"][name].append(value)

    def keep_average(self, decay: float | None) -> None:
        """Keep a moving average of the weights from the first step on, where ``decay`` is not ``None``."""
        if decay is not None:
            self.average = WeightAverage(decay)
            self.add_callback(self.average)

    def hand_over_average(self) -> None:
        """Load the moving average of the weights, where one was kept."""
        if self.average is not None:
            self.average.load_into(self.accelerator.unwrap_model(self.model))

    def hand_over_best(self) -> None:
        """Load the weights of the best checkpoint, where it is not the last step's own."""
        found = self.best.found
        if found is not None and found["step"] != self.state.global_step:
            folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{found['step']}"
            if not complete(folder).exists():
                raise StageError(f"{folder}: is the best checkpoint and is missing; set hand_over=last")

            def check() -> None:
                if self.accelerator.is_main_process and (damage := checkpoint_damage(folder)) is not None:
                    raise StageError(f"{folder}: is damaged ({damage}) and the best one; set hand_over=last")

            raise_on_all_ranks(check, "reading the best checkpoint")
            self.state.best_model_checkpoint = str(folder)
            self._load_best_model()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Let the summary's mean loss be that of all steps; transformers takes it over those of this attempt."""
        if "train_loss" in logs:
            logs["train_loss"] = self._total_loss_scalar / max(self.state.global_step, 1)
        super().log(logs, *args, **kwargs)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Warn of keys that a checkpoint lacks, but not of weights that are tied to others, which it never has."""
        tied: Mapping[str, str] = getattr(self.model, "all_tied_weights_keys", None) or {}
        missing = [key for key in load_result.missing_keys if key not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.best.compare(self.state.global_step, self.state.max_steps):
            self.state.best_global_step = self.state.global_step
        super()._save_checkpoint(model, trial)
        folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        torch.save(self.checkpoint_state(), self._state_file(folder))
        self.accelerator.wait_for_everyone()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self._resumed is not None:
            self._tr_loss, self._globalstep_last_logged = self._resumed["loss"], self._resumed["logged"]
            self._total_loss_scalar = self._resumed["losses"]
            self._resumed = None
        if self.held_out is not None and self.held_out.ended:
            self.state.max_steps = self.state.global_step
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _engine(self) -> str:
        """Return what decides the form of a checkpoint: whole weights are the same under any number of ranks."""
        if self.is_deepspeed_enabled:
            return f"zero{self.accelerator.state.deepspeed_plugin.zero_stage}"
        return "fsdp2" if self.is_fsdp_enabled else WHOLE_WEIGHTS

    def _state_file(self, checkpoint: Path) -> Path:
        return checkpoint / f"rank_state_{self.accelerator.process_index}.pt"


class AdhereSFTTrainer(ExactResume, PackedSft):
    """TRL's SFTTrainer with an exact resume, packed updates and a choice of tokens (``token_choice.py``)."""

    def __init__(self, *, token_share: float = 1.0, token_entropy: float = 0.0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._share, self._entropy_weight = token_share, token_entropy

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return TRL's loss, of the chosen tokens."""
        if self._share < 1.0 and model.training:
            with torch.no_grad():
                scored = model(**inputs, use_cache=False, fused_lm_head=True)
            mask = scored.label_mask
            kept = chosen_tokens(-scored.log_probs, scored.entropy, mask, self._share, self._entropy_weight)
            labels = inputs["labels"].clone()
            labels[:, 1:][mask & ~kept] = IGNORED
            inputs = {**inputs, "labels": labels}
            if num_items_in_batch is not None:
                num_items_in_batch = num_items_in_batch * self._share
        return super().compute_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)


def resume_point(checkpoints: Path) -> Path | None:
    """Return the newest whole checkpoint; the first rank reads its checksums, for all of them.

    Raises:
        StageError: there are checkpoints, and none is whole; on every rank.
    """
    found: list[Path | None] = [None]

    def look() -> None:
        if PartialState().is_main_process:
            found[0] = newest_checkpoint(
                checkpoints, lambda said: print(f"\nadhere: note: {said}", file=sys.stderr, flush=True)
            )

    raise_on_all_ranks(look, "reading the checkpoints")
    broadcast_object_list(found)
    return found[0]


def raise_on_all_ranks(act: Callable[[], object], what: str) -> None:
    """Run ``act`` on this rank; where it raises on any rank, raise on all of them, with the reason.

    Without this the ranks whose ``act`` succeeded would wait in the next collective for the one that is gone, half an
    hour under torch's default timeout. Every rank has to call it. A lone rank's error is raised unchanged.

    Raises:
        StageError: ``what`` failed on a rank; says on which and why.
    """
    state = PartialState()
    if state.num_processes == 1:
        act()
        return
    error: Exception | None = None
    try:
        act()
    except Exception as caught:  # noqa: BLE001 - whatever it is, the other ranks have to learn of it before it is raised
        error = caught
    own = None if error is None else f"rank {state.process_index}: {type(error).__name__}: {error}"
    reasons = [reason for reason in gather_object([own]) if reason is not None]
    if reasons:
        raise StageError(f"{what} failed on {len(reasons)} of {state.num_processes} ranks; {reasons[0]}") from error


class JudgePause:
    """Waits for the endpoints that a composite reward asks; every method is collective: all ranks call it, and agree.

    ``stop`` is the file that asks the stage to end; a pause does not outlast it.
    """

    def __init__(self, services: Services, accelerator: Accelerator, stop: Path) -> None:
        self._services, self._accelerator, self._stop = services, accelerator, stop
        self._since: float | None = None

    def begin(self) -> None:
        """A new batch: its pauses have the whole patience before them."""
        self._since = None

    def outage(self) -> Outage | None:
        """Return what did not answer some rank when the last batch was scored, or ``None``."""
        found: Outage | None = self._first(self._services.outage) if self._services else None
        return found

    def outlast(self, outage: Outage) -> bool:
        """Wait until every rank's endpoints answer; return whether they did within the patience, and before a stop.

        Pauses of one batch share the patience: an endpoint that answers probes, but no questions, does not renew it.
        """
        patience = self._services.patience
        if self._since is None:
            self._since = time.monotonic()
        self._say(f"training pauses for up to {patience:g} s: {outage.title} does not answer ({outage.reason})")
        while True:
            left = patience - (time.monotonic() - self._since)
            if self._first(left <= 0.0 or None) or self.asked_to_stop:
                return False
            time.sleep(max(0.0, min(PROBE_EVERY, left)))
            if self._first(self._services.probe()) is None:
                self._say(f"{outage.title} answers again; training goes on")
                return True

    @property
    def asked_to_stop(self) -> bool:
        """Whether the stage was asked to end, by rank 0's sight of its ``STOP``."""
        return bool(self._first((self._accelerator.is_main_process and self._stop.exists()) or None))

    def _first(self, mine: Any) -> Any:
        return next((theirs for theirs in gather_object([mine]) if theirs is not None), None)

    def _say(self, message: str) -> None:
        if self._accelerator.is_main_process:
            print(f"\nadhere: {message}", file=sys.stderr, flush=True)
