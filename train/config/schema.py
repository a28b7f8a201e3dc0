"""The typed schema of a recipe: the one source for validation, defaults and the configuration reference.

Every key of a composed recipe is a field here; an unknown key is an error that names the nearest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, create_model, field_validator, model_validator

from adhere.evaluation.remedies import parse_remedy
from adhere.evaluation.suites import SUITES, SuiteSource
from adhere.prompts.config import DataConfig
from adhere.rewards.config import RewardConfig
from adhere.rewards.judge.config import JudgeConfig
from adhere.rewards.strict import Root, Strict
from adhere.train.config.ablation import AblationConfig, name_problem
from adhere.train.config.generation import VllmConfig
from adhere.train.config.held_out import HeldOutConfig
from adhere.train.config.monitors import MonitorsConfig
from adhere.train.config.named_stages import (
    CheckedStages,
    StageConfig,
    check_stages,
    named_stages,
    sections_of_plugins,
)
from adhere.train.config.suites import SuiteConfig, with_suite_stages

Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_floor"]
Strategy = Literal["single", "ddp", "fsdp2", "zero2", "zero3"]
SLURM_TIME = r"^(\d+-)?\d+(:\d\d){0,2}$"
SLURM_MEMORY = r"^\d+[KMGTkmgt]?[Bb]?$"


class MergeConfig(Strict):
    """How a ``merge`` stage makes one model out of several."""

    method: Literal["linear", "slerp", "rain"] = "linear"
    """``linear``: Σ wᵢθᵢ, tensor by tensor. ``slerp``: along the arc between two, at the second one's share. ``rain``:
    adds to the first what the second learned since ``from``, where it does not touch the first one's reasoning (arXiv
    2602.22538)."""

    weights: list[float] | None = Field(default=None, min_length=2)
    """One weight for each model in the order of ``inputs.models``; with ``linear`` as written, with ``slerp`` shares
    that add up to 1. ``None`` weighs all alike."""

    traces: int = Field(default=150, ge=2)
    """``rain``: training prompts that the first model answers, whose reasoning is protected. Half of them are projected
    out, on the other half is measured what still leaks."""

    trace_tokens: int = Field(default=1024, ge=1)
    """``rain``: length limit of such an answer, in tokens."""

    cut: float = Field(default=1e-8, gt=0.0, lt=1.0)
    """``rain``: a direction is protected where a map's inputs have more than this share of their largest second
    moment. With more thinking tokens than inputs no direction may be left."""

    leak: float = Field(default=0.5, ge=0.0)
    """``rain``: ρ, what an effect on reasoning that was not projected out costs a head."""

    instructions: float = Field(default=1.0, gt=0.0)
    """``rain``: factor of all that is added."""


class AdapterConfig(Strict):
    """Which weights are trained."""

    kind: Literal["none", "lora", "qlora"] = "none"
    """``none`` trains every weight, ``lora`` adapters, ``qlora`` adapters of a 4-bit base (needs bitsandbytes)."""

    rank: int = Field(default=16, ge=1)
    """Rank of the adapters."""

    alpha: int = Field(default=32, ge=1)
    """Adapter scale; the effective factor is alpha / rank."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout on the adapters' input."""

    target_modules: str | list[str] = "all-linear"
    """Modules that receive adapters; ``all-linear`` leaves the head out, as TRL's GRPO requires."""

    handoff: Literal["continue", "merge"] = "continue"
    """GRPO after an SFT with adapters: train the same adapters on, or merge them and start new ones."""


class ModelConfig(Strict):
    """The model that a recipe starts from."""

    path: str
    """A local folder, or a hub id."""

    revision: str | None = None
    """Hub revision; name one for a recipe that has to stay reproducible."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the arithmetic: ``auto`` is bfloat16 on a GPU that has it, else float32. Trained weights are float32."""

    attention: str | None = None
    """transformers' ``attn_implementation``; ``None`` leaves the choice to it."""

    kernels: bool = False
    """Replace norms, activations and attention by the hub's kernels where it has some; needs a GPU and ``kernels``."""

    chat_template: str | None = None
    """Path of a Jinja file that replaces the tokenizer's chat template."""

    chat_template_kwargs: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Variables of the chat template, such as ``{enable_thinking: false}``: in SFT, rollouts, the hand-off check and
    every suite alike. They become part of the template that a trained model is saved with."""

    prefilled_reasoning: bool = False
    """Whether the chat template itself opens ``<think>`` at the end of the prompt (as DeepSeek-R1's does)."""

    context: int | None = Field(default=None, ge=1)
    """Context length in tokens; ``None`` reads it from the model's config."""

    trust_remote_code: bool = False
    """Run Python code from the model's repository. Off unless a recipe names it."""

    adapter: AdapterConfig = AdapterConfig()


class _Training(Strict):
    learning_rate: float = Field(gt=0.0)
    """Peak learning rate."""

    lr_scheduler: Schedule = "constant_with_warmup"
    """Learning-rate schedule; ``cosine_with_floor`` falls to ``lr_floor`` in place of 0."""

    lr_floor: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the peak learning rate at which ``cosine_with_floor`` ends; other schedules have none."""

    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from 0."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """AdamW's decoupled weight decay."""

    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """``adamw_8bit`` keeps AdamW's two moments in 8 bits, a quarter of their memory (arXiv 2110.02861); needs
    bitsandbytes and a GPU."""

    ema: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Hand over the exponential moving average of the weights in place of the last ones: this share of it stays at each
    optimizer step. Rollouts and evaluations while training are of the weights themselves. ``None`` keeps no average."""

    max_grad_norm: float = Field(default=1.0, gt=0.0)
    """Gradients are scaled down to this norm."""

    per_device_batch_size: int = Field(default=8, ge=1)
    """Sequences per device in one forward pass."""

    gradient_accumulation: int = Field(default=1, ge=1)
    """Forward passes per optimizer step."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    save_steps: int = Field(default=50, ge=1)
    """Optimizer steps between checkpoints; a killed stage loses at most this many."""

    save_every_minutes: float | None = Field(default=30.0, gt=0.0)
    """Longest time between checkpoints, besides those of ``save_steps``; ``None`` sets none."""

    logging_steps: int = Field(default=1, ge=1)
    """Optimizer steps between rows of ``metrics.jsonl``."""

    trl: dict[str, Any] = Field(default_factory=dict)
    """Further fields of TRL's config class, passed on as they are; names are checked before anything starts."""


class SftConfig(_Training):
    """Supervised fine-tuning on the targets of the training items (TRL's SFTTrainer)."""

    learning_rate: float = Field(default=2e-5, gt=0.0)
    max_steps: int = Field(default=-1, ge=-1)
    """Optimizer steps; -1 trains ``epochs`` passes."""

    epochs: float = Field(default=1.0, gt=0.0)
    """Passes over the data where ``max_steps`` is -1."""

    max_length: int = Field(default=2048, ge=8)
    """Prompt plus target in tokens, at most the model's context; nothing is ever cut silently."""

    too_long: Literal["error", "drop"] = "error"
    """What becomes of a row that is longer than ``max_length``: ``error`` stops the stage and names the row, ``drop``
    leaves it out and counts it. `adhere plan --check` counts them beforehand."""

    tokens_per_microbatch: Literal["auto"] | Annotated[int, Field(ge=1)] | None = None
    """Padded tokens of one forward and backward pass at most, into which the rows of an optimizer step are packed by
    length, with TRL's loss and gradients; ``auto`` is what ``per_device_batch_size`` rows of the greatest length have,
    and no more than keeps the device busy. ``None`` keeps TRL's own batches, equal to it bit for bit."""

    token_share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of a batch's target tokens that are trained on: those with the highest CE − ``token_entropy``·H, loss less
    entropy, which keeps the model's entropy up (Light-IF, arXiv 2508.03178, has 0.8). Below 1 it costs one more forward
    pass."""

    token_entropy: float = Field(default=0.8, ge=0.0)
    """How much the entropy counts in that choice."""

    held_out: HeldOutConfig = HeldOutConfig()

    hand_over: Literal["last", "best"] = "last"
    """Weights that the stage ends with: of the last step, or of the checkpoint of ``save_steps`` (or the last) that
    scored highest on the prompts of ``held_out``: by its ``stop_when``, else joint rate, else accuracy."""


class SamplingConfig(Strict):
    """How responses are drawn."""

    temperature: float = Field(default=1.0, ge=0.0)
    """0 is greedy."""

    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Nucleus mass."""

    max_new_tokens: int = Field(default=1024, ge=1)
    """Length limit of a completion in tokens."""

    samples: int = Field(default=1, ge=1)
    """Responses per prompt."""


class TokenCreditConfig(Strict):
    """Credit by token: an advantage is divided among a rollout's tokens by how much the requirements made each likelier
    (CoRT, arXiv 2607.25659); needs one more forward pass for a rollout."""

    strength: float = Field(default=0.0, ge=0.0, lt=2.0)
    """η: how far weights go from 1; 0 weighs all tokens alike."""

    temperature: float = Field(default=1.0, gt=0.0)
    """τ: how sharply a difference of log-probabilities, in nats, becomes a weight."""

    offset: float = 0.0
    """b: the difference of log-probabilities, in nats, that leaves a weight at 1."""

    warmup: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of training in which all tokens weigh alike."""

    ramp: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of training over which the weights then take their strength."""

    against: Literal["without", "placebo"] = "without"
    """What the prompt is compared with: itself ``without`` its requirements, or, as a control, with a ``placebo`` of as
    many irrelevant words in their place."""


class CurriculumConfig(Strict):
    """Prompts ordered and filtered by how often the policy meets their kinds of constraints, measured as it trains."""

    every: int | None = Field(default=None, ge=1)
    """Optimizer steps between two measurements of the kinds; ``None`` takes prompts in shuffled order. Kinds of which
    training drew fewer than 16 rollouts since the last one are rehearsed: groups are drawn and not trained on."""

    start: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of the prompts, easiest first, that the first steps draw from."""

    all_from: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of training after which all prompts are drawn from; until then their share grows evenly."""

    free: float = Field(default=0.125, ge=0.0, le=1.0)
    """Share of a generation's prompts at most of which all kinds are free: met in at least 98 % of the rollouts."""

    hopeless: Literal["last", "out"] = "last"
    """What becomes of prompts with a kind that is met in at most 2 % of the rollouts: they come ``last``, or stay
    ``out`` until a measurement finds that they are met."""


class RelabelConfig(Strict):
    """Failures replayed as successes (HiR, arXiv 2512.23457): a finished rollout that met some of its requirements, and
    whose answer is not wrong, is trained on a second time behind a prompt that asks only for those."""

    advantage: float = Field(default=0.0, ge=0.0)
    """Advantage of a replayed rollout; 0 replays none."""

    least: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Share of its requirements that a rollout has to have met."""

    share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Replays for the rollouts of a generation at most; those that met the largest share come first."""


class LadderConfig(Strict):
    """A ladder of requirements: prompts ask for few of their requirements first, and for all of them in the end."""

    start: int | None = Field(default=None, ge=0)
    """Requirements that a prompt asks for at first; ``None`` asks for all from the start, without a ladder."""

    rise: Literal["schedule", "pass"] = "schedule"
    """``schedule``: all prompts climb together with training. ``pass``: a prompt asks for one requirement more after a
    group of it in which every rollout was right and met all that was asked."""

    until: float = Field(default=0.7, ge=0.0, le=1.0)
    """With ``schedule``, the share of training after which all requirements are asked for."""

    order: list[str] = Field(default_factory=list)
    """Constraint ids, families or collections from easy to hard: a prompt asks for the easiest of its own first. Those
    that are not named come last; by default the order in the prompt."""


class ImitationConfig(Strict):
    """An SFT loss beside GRPO's, on targets of the training items (as in CHORD, arXiv 2508.11408)."""

    weight: float = Field(default=0.0, ge=0.0)
    """Weight of the mean loss of the targets' tokens, in nats; 0 leaves it out. Prompts without a target are then left
    out of training."""

    rows: int = Field(default=8, ge=1)
    """Targets of an optimizer step, on each rank."""

    until: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of training over which the weight falls to 0, linearly; ``None`` keeps it."""


class AdmissionConfig(Strict):
    """Which groups are trained on: by how far their rewards differ, over the whole group and all ranks."""

    spread: float = Field(default=0.0, ge=0.0)
    """Groups whose highest and lowest reward differ by no more than this are left out; the noise of a judge, say."""

    distinct: int = Field(default=2, ge=2)
    """Different rewards that a group needs; rewards that lie within ``spread`` of each other count as one."""


class GrpoConfig(_Training):
    """Group relative policy optimisation on the composite reward (TRL's GRPOTrainer)."""

    seed: int | None = Field(default=None, ge=0)
    """Seed of the rollouts and of the order of prompts; ``None`` is the recipe's. Seeds of one SFT differ here."""

    learning_rate: float = Field(default=1e-6, gt=0.0)
    max_steps: int = Field(default=100, ge=1)
    """Optimizer steps."""

    group_size: int = Field(default=8, ge=2)
    """Completions per prompt (G), which the advantage compares."""

    max_completion_length: int = Field(default=1024, ge=1)
    """Length limit of a completion in tokens."""

    temperature: float = Field(default=1.0, gt=0.0)
    """Sampling temperature of the rollouts."""

    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Nucleus mass of the rollouts."""

    kl_coefficient: float = Field(default=0.0, ge=0.0)
    """TRL's beta: weight of the KL to the model that GRPO started from. 0 keeps no reference in memory."""

    kl_follows: Literal["fixed", "live_share"] = "fixed"
    """``live_share`` multiplies ``kl_coefficient`` by the share of an update's groups that have an advantage, so that
    an update which few groups voted for is not made of the KL term instead."""

    loss: Literal["dapo", "grpo", "bnpo", "dr_grpo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """The policy's loss. ``dapo``, ``grpo``, ``bnpo`` and ``dr_grpo`` clip the ratio and differ in how token losses are
    averaged; ``cispo`` clips its weight alone (arXiv 2506.13585), ``sapo`` has a smooth gate in place of the clip
    (arXiv 2511.20347); ``luspo`` (arXiv 2602.05261) and ``vespo`` (arXiv 2602.10693) are of whole sequences."""

    clip_low: float = Field(default=0.2, ge=0.0, lt=1.0)
    """How far the ratio of new to old probability may fall below 1 before its gradient ends (ε)."""

    clip_high: float | None = Field(default=None, ge=0.0)
    """How far it may rise above 1; ``None`` is ``clip_low``. Clip-higher (DAPO, arXiv 2503.14476) is 0.28."""

    clip_ratio: float | None = Field(default=None, gt=1.0)
    """Greatest ratio where the advantage is negative, which the plain clip leaves open (two-sided clip, arXiv
    2505.07291); ``None`` sets none."""

    cispo_weight: float = Field(default=5.0, gt=0.0)
    """Greatest weight of a token under ``loss=cispo`` (ScaleRL, arXiv 2510.13786)."""

    sapo_positive: float = Field(default=1.0, gt=0.0)
    """Temperature of ``loss=sapo`` for tokens with a positive advantage."""

    sapo_negative: float = Field(default=1.05, gt=0.0)
    """Temperature of ``loss=sapo`` for the other tokens."""

    ratio_level: Literal["token", "sequence"] | None = None
    """Whether each ``token`` has a ratio of its own, or the ``sequence`` one, its tokens' geometric mean (GSPO, arXiv
    2507.18071); ``None`` is ``sequence`` for ``loss=luspo``, else ``token``."""

    mask_truncated: bool = False
    """Leave rollouts that were cut at the length limit out of the loss (DAPO). They stay in their group's mean."""

    num_iterations: int = Field(default=1, ge=1)
    """Times that each generation is trained on (μ)."""

    reference_every: int | None = Field(default=None, ge=1)
    """Steps after which the reference of the KL moves towards the policy (TR-DPO, arXiv 2404.09656); ``None``: never.
    Needs ``kl_coefficient`` above 0 and no adapters."""

    reference_mix: float = Field(default=0.6, gt=0.0, le=1.0)
    """Share of the policy in the reference after such a move; 1 replaces it."""

    entropy_coefficient: float = Field(default=0.0, ge=0.0)
    """Weight of the policy's mean entropy by token as a bonus; with ``entropy_target`` only what it starts from."""

    entropy_target: float | None = Field(default=None, gt=0.0)
    """Entropy in nats below which the bonus counts, and its weight rises by 0.005 a step, up to 1; above it the weight
    falls (Skywork-OR1, arXiv 2505.22312). ``None`` keeps the weight constant."""

    entropy_top: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of the tokens, those of the highest entropy, that are trained on (arXiv 2506.01939); 1 trains on all."""

    generation: Literal["transformers", "continuous_batching", "vllm_colocate", "vllm_server"] = "transformers"
    """Back end of the rollouts."""

    exact_trl: bool = False
    """Keep TRL's own stream of random numbers, batches and padding, so that results equal TRL's bit for bit."""

    vllm: VllmConfig = VllmConfig()

    refill: bool = False
    """Dynamic sampling: replace groups whose rewards do not differ by groups of fresh prompts, from the same weights.
    Which prompts are trained on then depends on the model; what is thrown away is ``refill/surplus_tokens``."""

    refill_rounds: int = Field(default=3, ge=1)
    """Times that fresh prompts are drawn for one generation, at most; groups that are still flat then are kept."""

    refill_resolution: float = Field(default=0.0, ge=0.0)
    """Greatest difference between a group's rewards that ``refill`` takes for none: the noise of a judge, say."""

    curriculum: CurriculumConfig = CurriculumConfig()

    tokens_per_microbatch: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Padded tokens of one forward and backward pass at most, into which the rows of an optimizer step are packed by
    length. ``auto`` is what ``per_device_batch_size`` rows of the greatest length have, and no more than keeps the
    device busy."""

    skip_zero_advantage: bool = True
    """Leave rollouts whose advantage is 0 out of the update, where that changes no gradient (no KL term)."""

    token_credit: TokenCreditConfig = TokenCreditConfig()

    relabel: RelabelConfig = RelabelConfig()

    ladder: LadderConfig = LadderConfig()

    admission: AdmissionConfig = AdmissionConfig()

    imitation: ImitationConfig = ImitationConfig()

    max_clipped_steps: int = Field(default=5, ge=1)
    """Consecutive steps without any finished completion after which training stops and says so."""

    learning_rate_follows: Literal["schedule", "live_share"] = "schedule"
    """``live_share`` multiplies each update's learning rate by the share of its groups that have an advantage: Adam
    divides a gradient's length out, so that an update which few groups voted for is otherwise as long as any other."""

    require_signal: Literal["off", "warn", "stop"] = "warn"
    """What to do where an earlier `adhere rehearse` of the same stage found that the reward does not teach: ``warn``,
    or ``stop`` before training; ``stop`` also requires that there was a rehearsal."""

    hand_over: Literal["last", "best"] = "last"
    """Weights that the stage ends with: of the last step, or of the checkpoint of ``save_steps`` (or the last) whose
    rollouts since the one before scored highest: by joint rate, else accuracy, else reward. With ``held_out.every`` the
    checkpoints are compared on its prompts, by ``held_out.stop_when`` first."""

    held_out: HeldOutConfig = HeldOutConfig()

    monitors: MonitorsConfig = MonitorsConfig()

    def trl_fields(self) -> dict[str, Any]:
        """Return the fields of TRL's config that the keys of the loss decide, before those of ``trl``."""
        level = self.ratio_level or ("sequence" if self.loss == "luspo" else "token")
        high = self.cispo_weight if self.loss == "cispo" else self.clip_high
        return {
            "loss_type": self.loss,
            "epsilon": self.clip_low,
            "epsilon_high": high,
            "delta": self.clip_ratio,
            "sapo_temperature_pos": self.sapo_positive,
            "sapo_temperature_neg": self.sapo_negative,
            "importance_sampling_level": level,
            "mask_truncated_completions": self.mask_truncated,
            "num_iterations": self.num_iterations,
            "sync_ref_model": self.reference_every is not None,
            "ref_model_sync_steps": self.reference_every or 512,
            "ref_model_mixup_alpha": self.reference_mix,
            "entropy_coef": self.entropy_coefficient,
            "use_adaptive_entropy": self.entropy_target is not None,
            "entropy_target": 0.2 if self.entropy_target is None else self.entropy_target,
            "top_entropy_quantile": self.entropy_top,
        }

    @property
    def iterations(self) -> int:
        """Times that each generation is trained on, whichever key says it."""
        return int(self.trl.get("num_iterations") or self.num_iterations)


class DistillConfig(Strict):
    """On-policy distillation: a teacher scores each token of the policy's rollouts. Everything else is ``grpo``'s.

    The advantage of a token is ``reward``·A + ``coefficient``·(log π_teacher − log π_policy)."""

    teacher: Literal["models", "self"] = "models"
    """``models``: those of ``inputs.teachers``, then those of ``distill.models``. ``self``: the policy, shown what
    ``context`` says."""

    models: list[str] = Field(default_factory=list)
    """Further teachers: model folders or hub ids, with the recipe's tokenizer. A folder may hold an adapter."""

    routes: list[str] | None = None
    """Which prompts each teacher gets, in their order; the first that fits decides, one teacher a prompt: ``all``,
    ``requirements`` or ``no_requirements``, ``answer`` or ``no_answer`` (a gold answer), ``source=LABEL``. A prompt
    that none fits has the reward alone. ``None`` is ``all`` for one teacher; several need theirs."""

    ema: float = Field(default=0.0, ge=0.0, le=1.0)
    """``self``: share by which the teacher moves to the policy after each step. 0 keeps the model that the stage
    starts from, 1 is the policy itself."""

    coefficient: float = Field(default=1.0, ge=0.0)
    """c: weight of the teacher. 0 only logs how far the policy is from it."""

    reward: float = Field(default=0.0, ge=0.0)
    """Weight of the reward's own advantage A. 0 is distillation alone: the rewards are then only measured."""

    form: Literal["sampled", "reverse_kl", "forward_kl"] = "sampled"
    """What is taken from the teacher: the probabilities of the ``sampled`` tokens, as an advantage; or at each of them
    the whole distribution, as a loss: KL(policy‖teacher) or KL(teacher‖policy)."""

    context: Literal["none", "solution", "requirements", "feedback"] = "none"
    """What the teacher is shown besides the prompt. ``solution``: the worked solution, or the gold answer (OPSD, arXiv
    2601.18734). ``requirements``: those of the prompt, once more or for the first time. ``feedback``: which
    requirements the rollout did not meet, whether its answer is wrong, and a sibling that succeeded (SDPO, arXiv
    2601.20802). Where there is nothing to show, a rollout has no teacher."""

    sibling: Literal["safe", "always", "never"] = "safe"
    """``feedback``: when a sibling that succeeded is shown. ``safe`` is where it cannot tell the gold answer: the
    prompt has none, or the rollout has it right itself. ``always`` is SDPO's own."""

    constraint_weight: float = Field(default=0.0, ge=0.0)
    """λ: how much the teacher's own differences count that each requirement makes when it is left out of the prompt
    (CC-OPD, arXiv 2609.27421, which has 2); needs one more pass of the teacher for each requirement."""

    constraint_clip: float = Field(default=5.0, gt=0.0)
    """Largest sum of these differences at a token, in nats."""

    ratio_bounds: tuple[float, float] | None = None
    """Tokens whose probability changed by a factor outside of these bounds since they were drawn (the sampling
    engine's own probability where it is corrected for) get nothing from the teacher; ``null`` sets none."""


class RehearseConfig(Strict):
    """What a rehearsal draws from the policy that GRPO would start from."""

    groups: int = Field(default=64, ge=1)
    """Groups, of ``grpo.group_size`` completions each."""

    live_groups: float | None = Field(default=None, gt=0.0)
    """Groups with an advantage that a step should have; the verdict then names the smallest batch (group size and
    prompts a step) that is expected to have them. ``None`` wants no number."""


class PairsConfig(Strict):
    """Preference pairs, drawn from the policy that the stage starts from and ordered by the composite reward."""

    prompts: int | None = Field(default=None, ge=1)
    """How many of the training prompts are asked, the first in GRPO's order; ``None`` asks all."""

    samples: int = Field(default=2, ge=2)
    """Responses to each prompt; the one with the highest reward and the one with the lowest make its pair."""

    temperature: float = Field(default=1.3, gt=0.0)
    """Sampling temperature."""

    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    """Nucleus mass."""

    max_completion_length: int = Field(default=1024, ge=1)
    """Length limit of a completion in tokens."""

    batch_size: int = Field(default=64, ge=1)
    """Responses that are generated at once."""

    keep: float = Field(default=0.4, gt=0.0, le=1.0)
    """Share of the pairs that are kept."""

    rank_by: Literal["requirement", "reward"] = "requirement"
    """Which pairs are kept: those with the largest difference in a single requirement (or in a component other than
    the checklist), as RLCF does (arXiv 2507.18624), or in the whole reward."""


class DpoConfig(_Training):
    """Direct preference optimisation (arXiv 2305.18290) on the pairs of a ``pairs`` stage (TRL's DPOTrainer)."""

    learning_rate: float = Field(default=3e-6, gt=0.0)
    lr_scheduler: Schedule = "linear"
    max_steps: int = Field(default=-1, ge=-1)
    """Optimizer steps; -1 trains ``epochs`` passes."""

    epochs: float = Field(default=2.0, gt=0.0)
    """Passes over the pairs where ``max_steps`` is -1."""

    beta: float = Field(default=0.1, gt=0.0)
    """How much a step away from the starting model costs."""

    loss: Literal["sigmoid", "hinge", "ipo", "robust", "apo_zero", "sigmoid_norm"] = "sigmoid"
    """TRL's ``loss_type``; ``sigmoid`` is DPO's own."""


class EvaluationConfig(Strict):
    """What the models are measured on."""

    suite: str = "prompts"
    """The name of a registered suite, a plug-in's among them. ``prompts`` is the recipe's evaluation data, or ``path``;
    ``mathif`` reads MathIF's files."""

    suites: dict[str, SuiteConfig] | None = None
    """Several suites, each measured by a stage of its own with one load of the model: a list of names, or a map from
    names to what differs (``{ifeval: {path: FILE, limit: 100}}``). ``None`` measures ``suite``."""

    path: str | None = None
    """The suite's file, or its folder; ``None`` is its data set on the hub, or the recipe's data for ``prompts``."""

    subsets: list[str] | None = None
    """Parts of the suite: MathIF's files by name without ``.jsonl``, ``rules`` and ``judged`` of FollowBench, or the
    language of ComplexBench (``en``, ``zh``); ``None`` is the suite's own choice."""

    revision: str | None = None
    """Commit, tag or branch of the suite's data set on the hub; ``None`` is the newest, which ``adhere fetch`` pins."""

    few_shot: int = Field(default=0, ge=0, le=32)
    """Examples before each question, as turns of their own, where the benchmark has some: of ``gsm8k`` the first of its
    training split, which stands in ``train.jsonl`` beside the suite's file."""

    limit: int | None = Field(default=None, ge=1)
    """Only the first so many prompts of the suite; ``None`` takes all of them."""

    backend: Literal["transformers", "vllm", "openai", "replay"] = "transformers"
    """What generates the responses; ``replay`` reads them from ``responses``, and ``model.path`` is a label."""

    responses: str | None = None
    """File of responses made elsewhere, for ``replay``: rows of ``prompt`` or ``key`` and ``response``, or the samples
    of lm-evaluation-harness or lighteval."""

    base_url: Root | None = None
    """Endpoint of the ``openai`` back end; its key is read from OPENAI_API_KEY."""

    judge: JudgeConfig | None = None
    """Decides the requirements that only a judge can; preferably another model than the judge of training."""

    batch_size: int = Field(default=64, ge=1)
    """Prompts per generation batch (transformers back end)."""

    sampling: SamplingConfig = SamplingConfig(temperature=0.0)
    without_constraints: bool = False
    """Generate a second time without the constraints, for accuracy with against without."""

    mode: Literal["compat", "hardened"] = "hardened"
    """Which constraint checkers decide the headline numbers."""

    bootstrap: int = Field(default=2000, ge=100)
    """Resamples of the bootstrap intervals."""

    @field_validator("suites", mode="before")
    @classmethod
    def _list_is_a_map(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            if twice := [name for name in given if given.count(name) > 1]:
                raise ValueError(
                    f"'{twice[0]}' comes twice; give a second one a name: {{again: {{suite: {twice[0]}}}}}"
                )
            return {name: {} for name in given}
        if isinstance(given, Mapping):
            return {name: {} if entry is None else entry for name, entry in given.items()} or None
        return given

    @field_validator("suites")
    @classmethod
    def _each_registered(cls, suites: dict[str, SuiteConfig] | None) -> dict[str, SuiteConfig] | None:
        for name, entry in (suites or {}).items():
            SUITES[entry.suite or name]
            if problem := name_problem(name):
                raise ValueError(f"the name '{name}' {problem}")
        return suites

    remedy: dict[str, Any] | None = None
    """How the model is helped to follow its instructions without training: a remedy's name, or ``{name: NAME, option:
    value}``; ``None`` asks it as it is. docs/remedies.md has them all."""

    @field_validator("remedy", mode="before")
    @classmethod
    def _known_remedy(cls, given: Any) -> Any:
        if given is None:
            return None
        if not isinstance(given, str | Mapping):
            raise ValueError(f"is {given!r}; write a remedy's name, or {{name: NAME, option: value}}")
        chosen = parse_remedy(given)
        options = chosen.model_dump(mode="json")
        for key in (*chosen.files, *chosen.models):  # a worker may run in another folder
            if options[key] is not None and Path(options[key]).exists():
                options[key] = str(Path(options[key]).resolve())
        return {"name": chosen.name, **options}

    @field_validator("suite")
    @classmethod
    def _registered(cls, name: str) -> str:
        SUITES[name]
        return name

    @property
    def source(self) -> SuiteSource:
        """Where the suite's items are, besides the recipe's own."""
        return SuiteSource(
            None if self.path is None else Path(self.path),
            self.subsets,
            limit=self.limit,
            revision=self.revision,
            few_shot=self.few_shot,
        )


class SlurmConfig(Strict):
    """How stages are submitted to a Slurm cluster (``launcher=slurm``); the profile says what the cluster is."""

    profile: str | None = None
    """Name of a file in ``slurm/profiles/``, or the path of a YAML file like those."""

    time: str | None = Field(default=None, pattern=SLURM_TIME)
    """Time limit of a stage's job, as Slurm writes it (``D-HH:MM:SS``); ``None`` is the profile's."""

    evaluation_time: str | None = Field(default=None, pattern=SLURM_TIME)
    """Time limit of an evaluation's job; ``None`` is that of the profile's ``evaluate``, or else ``time``."""

    evaluation_memory: str | None = Field(default=None, pattern=SLURM_MEMORY)
    """Memory of an evaluation's job, as ``--mem`` takes it; ``None`` is that of the profile's ``evaluate``, or else its
    share of the profile's ``memory``."""

    notice_seconds: int = Field(default=300, ge=10)
    """Seconds before the time limit at which a job is asked to write a checkpoint and requeue; longer than one step."""

    max_requeues: int = Field(default=3, ge=0)
    """Attempts that may end in a crash without a newer complete checkpoint before the stage counts as failed."""

    throttle: int | None = Field(default=None, ge=1)
    """Jobs of one array that run at a time; ``None`` leaves it to the cluster."""

    sbatch: dict[str, str] = Field(default_factory=dict)
    """Further options of ``sbatch`` by their long name, such as ``{reservation: course, mail-type: FAIL}``."""


class LauncherConfig(Strict):
    """Where and how a stage runs."""

    kind: Literal["local", "slurm"] = "local"
    """``local`` starts processes on this machine, ``slurm`` submits one job a stage; ranks by ``accelerate launch``."""

    nodes: int = Field(default=1, ge=1)
    """Machines that a training stage runs on; ``local`` is always one."""

    processes: int = Field(default=1, ge=1)
    """Ranks of a training stage over all nodes, one per device; an option of ``strategy`` brings its own number, which
    is 1 with ``device=cpu``."""

    strategy: Strategy = "single"
    """How ranks share the model."""

    offload: bool = False
    """Keep optimizer state and, under zero3, parameters in host memory."""

    gpu_memory_gib: float | None = Field(default=None, gt=0.0)
    """Memory of one GPU in GiB, which ``adhere plan`` compares its estimate with; ``None`` compares with nothing."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` takes GPUs where there are any; ``cuda`` stops where there is none that works."""

    stages_per_gpu: int = Field(default=1, ge=1)
    """Stages of one process that share a GPU where several run at a time (``ablation.parallel``); their memory adds
    up, which ``adhere plan`` compares with ``gpu_memory_gib``."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads per rank (OMP_NUM_THREADS); ``None`` divides the cores that this process may use
    among the ranks."""

    slurm: SlurmConfig = SlurmConfig()

    @model_validator(mode="after")
    def _ranks(self) -> LauncherConfig:
        if self.strategy == "single" and self.processes > 1:
            raise ValueError(f"strategy: 'single' is one process, processes is {self.processes}; use strategy=ddp")
        return self


class TrackingConfig(Strict):
    """Where metrics go besides ``metrics.jsonl`` and parquet, which are always written."""

    wandb: Literal["auto", "off", "offline", "online"] = "auto"
    """``auto`` is as WANDB_MODE says; without it online with WANDB_API_KEY or after ``wandb login``, else off."""

    trackio: bool = False
    """Also log to a local trackio data base (TRACKIO_DIR)."""

    trackers: list[str] = Field(default_factory=list)
    """Further trackers by name: those of plug-ins, and the integrations of transformers (``tensorboard``, ``mlflow``,
    ``comet_ml``, …)."""

    project: str = "adhere"
    """Project name in W&B and trackio."""

    group: str | None = Field(default=None, min_length=1)
    """Group of the run's stages in W&B; ``None`` is the recipe's name."""

    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default_factory=list)
    """Tags of the run's stages in W&B; the point and seed of an ablation are tags in any case."""


class RunConfig(Strict):
    """Where results are kept."""

    root: str = "runs"
    """Folder of all runs; stages with the same content are shared below it."""

    name: str | None = None
    """Name of the run's folder; ``None`` is the recipe's name and a hash of its configuration."""


PROFILE_WARM_UP = 2
"""Steps that ``profile`` does not trace: memory is allocated in them, and kernels are chosen."""


class Recipe(Strict):
    """A recipe: model, data, named stages, rewards and an evaluation."""

    name: str
    """Short name, used in folders and tables."""

    seed: int = Field(default=0, ge=0)
    """Seed of data order, sampling and initialisation. Data has seeds of its own."""

    plugins: list[str] = Field(default_factory=list)
    """Modules of your own, such as ``my_lab.rewards``, that are imported before the recipe is read."""

    stages: dict[str, StageConfig] = Field(default=None, validate_default=True)
    """A list of kinds, each stage starting from the one before (``[sft, grpo, evaluate]`` where left out), or a map
    from names to stages."""

    preflight: bool = False
    """Run a worst-case step before training, so that memory that does not suffice shows at once."""

    profile: int | None = Field(default=None, ge=1)
    """Optimizer steps of each SFT and GRPO stage that torch's profiler traces, after two that it does not; ``None``
    traces none. ``debug=profile`` sets it."""

    model: ModelConfig
    data: DataConfig
    sft: SftConfig = SftConfig()
    grpo: GrpoConfig = GrpoConfig()
    distill: DistillConfig = DistillConfig()
    merge: MergeConfig = MergeConfig()
    rehearse: RehearseConfig = RehearseConfig()
    pairs: PairsConfig = PairsConfig()
    dpo: DpoConfig = DpoConfig()
    rewards: RewardConfig = RewardConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    launcher: LauncherConfig = LauncherConfig()
    tracking: TrackingConfig = TrackingConfig()
    run: RunConfig = RunConfig()
    ablation: AblationConfig = AblationConfig()
    arms: dict[str, list[str]] = Field(default_factory=dict)
    """Points of a comparison: a name, and the overrides that make it. Empty runs the recipe as it is."""

    @model_validator(mode="before")
    @classmethod
    def _stages_of_suites(cls, given: Any) -> Any:
        return with_suite_stages(given)

    @field_validator("stages", mode="wrap")
    @classmethod
    def _graph(cls, given: Any, validate: ValidatorFunctionWrapHandler) -> CheckedStages:
        return given if isinstance(given, CheckedStages) else check_stages(validate(named_stages(given)))

    @field_validator("arms", mode="before")
    @classmethod
    def _none_is_empty(cls, given: Any) -> Any:
        return {} if given is None else given

    @field_validator("arms")
    @classmethod
    def _names(cls, arms: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in arms:
            if problem := name_problem(name):
                raise ValueError(f"the name '{name}' {problem}")
        return arms

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of the recipe's stages."""
        return frozenset(stage.kind for stage in self.stages.values())

    @property
    def grpo_seed(self) -> int:
        """Seed of the GRPO stage."""
        return self.seed if self.grpo.seed is None else self.grpo.seed

    @property
    def completions_per_step(self) -> int:
        """Completions that one GRPO step trains on, all ranks together."""
        return self.grpo.per_device_batch_size * self.launcher.processes * self.grpo.gradient_accumulation


def recipe_schema() -> type[Recipe]:
    """Return the class of a recipe: ``Recipe``, with a section for each plug-in's kind that has settings."""
    return _with_sections(*((n, c) for n, c in sections_of_plugins().items() if n not in Recipe.model_fields))


@cache  # recipes of two classes would never be equal
def _with_sections(*sections: tuple[str, type[Strict]]) -> type[Recipe]:
    fields: dict[str, Any] = {name: (config, Field(default_factory=config)) for name, config in sections}
    return create_model("Recipe", __base__=Recipe, **fields) if fields else Recipe
