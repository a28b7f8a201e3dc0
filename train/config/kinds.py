"""Kinds of stages: what a stage reads, what it makes, and what of a recipe decides it. No torch.

Those that ship are declared here with the interface that a user's own kind has. A kind is known to the driver by this
class alone; its ``run`` is called in a worker.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from adhere.prompts.attach import expand
from adhere.prompts.fingerprint import fingerprint
from adhere.records.artifact import PAIRS, Artifact
from adhere.rewards.errors import ConfigError
from adhere.rewards.judge.config import OPERATIONAL
from adhere.train.config.generation import vllm_settings
from adhere.train.config.model_files import context_of
from adhere.train.config.named_stages import BASE, DECLARED, NOT_OF_A_STAGE, Declaration, StageConfig
from adhere.train.config.schema import DpoConfig, GrpoConfig, MergeConfig, Recipe, SftConfig
from adhere.train.config.stage import StageSpec

SPEED_ONLY = {"save_steps", "save_every_minutes", "logging_steps", "monitors", "require_signal", "held_out"}
"""Training settings that change no weight, and so no key; ``save_steps`` does where the best checkpoint is chosen, and
``held_out`` where that or the end of training depends on it."""

LATER = {
    "lr_floor", "optimizer", "ema", "clip_low", "clip_high", "clip_ratio", "cispo_weight", "sapo_positive",
    "sapo_negative", "ratio_level", "mask_truncated", "num_iterations", "reference_every", "reference_mix",
    "entropy_coefficient", "entropy_target", "entropy_top", "ladder", "admission", "imitation", "token_share",
    "token_entropy",
}  # fmt: skip
"""Training settings that came later: at their default they are no part of a key, so that stages keep their names."""

LR_FLOOR = GrpoConfig().lr_floor


ROUTES = ("all", "requirements", "no_requirements", "answer", "no_answer")
"""Which prompts a teacher can get, besides those of a source."""

FACTORS = {"per_device_batch_size", "gradient_accumulation"}
"""What a step's batch is the product of, together with the ranks: a key has the product, so that ranks may change. The
first of them is a part of a key too where the loss depends on how a batch is divided."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a stage takes, as far as its kind can say; ``adhere plan`` shows "not known" for what is ``None``.

    ``device_gib`` and ``host_gib`` are GiB at the peak, on each device and in the host's memory; ``seconds`` are at
    least and at most; ``basis`` says what the figures rest on.
    """

    device_gib: float | None = None
    host_gib: float | None = None
    seconds: tuple[float, float] | None = None
    basis: str = "as its kind says"


class StageKind(Declaration):
    """One kind of stage. Subclass it, say what :class:`Declaration` holds, and decorate it: ``@stage_kind("name")``.

    The driver knows a kind by its class alone; ``run`` is called in a worker, on every rank.
    """

    workload: ClassVar[Literal["sft", "grpo", "rehearse", "evaluation"] | None] = None
    """The section of a shipped kind whose work the stage does: ``adhere plan`` then estimates its memory and time."""

    timing: ClassVar[Sequence[str]] = ()
    """Dotted keys that decide how long a step, an item or the whole takes, besides the model and the machine: the time
    of an earlier stage that agrees in them is the estimate. With none of them no earlier stage counts."""

    def needs(self, recipe: Recipe, stage: StageConfig, weights: int) -> Needs:
        """Return the memory and the time of a stage whose kind names no ``workload``, for a model of ``weights``."""
        return Needs()

    def run(self, spec: StageSpec, artifact: Artifact) -> None:
        """Do the work in a worker: read ``spec``, write below ``artifact``, and end with ``artifact.finish``."""
        raise NotImplementedError

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """Return the values of ``recipe`` that decide the result, besides the model, the data and the inputs."""
        section = {} if self.config is None else getattr(recipe, self.name).model_dump(mode="json")
        return {"seed": recipe.seed, self.name: section}

    def arithmetic(self, recipe: Recipe) -> list[str]:
        """Return what the recipe's numbers come to for this stage, as lines of ``adhere plan``."""
        return []

    def problems(self, recipe: Recipe, stage: StageConfig) -> list[str]:
        """Return the settings of ``recipe``, resolved for this stage, that cannot work: dotted key and what to do."""
        return []

    def steps(self, recipe: Recipe) -> int | None:
        """Return the number of optimizer steps, where there are any and the recipe says how many."""
        return None


K = TypeVar("K", bound=type[StageKind])


def stage_kind(name: str) -> Callable[[K], K]:
    """Return a decorator that enters a subclass of :class:`StageKind` as the kind ``name``.

    Raises:
        ConfigError: the name is taken, or the class lacks something; the message says what.
    """

    def enter(kind: K) -> K:
        if kind.run is StageKind.run:
            raise ConfigError(f"{kind.__module__}: the stage kind '{name}' has no method run(self, spec, artifact)")
        taken = name in Recipe.model_fields or name in (BASE, *NOT_OF_A_STAGE, "strategy")
        if not issubclass(kind, Shipped) and (taken or not name.isidentifier()):
            raise ConfigError(
                f"{kind.__module__}: the stage kind '{name}' needs another name: an identifier that is not a key or "
                f"group of recipes already"
            )
        kind.name = name
        DECLARED.add(name, kind(), kind.__module__)
        return kind

    return enter


def kind_of(name: str) -> StageKind:
    """Return the kind called ``name``.

    Raises:
        ConfigError: there is none.
    """
    kind = DECLARED[name]
    assert isinstance(kind, StageKind)
    return kind


class Shipped(StageKind):
    """A kind of ours: its work is a function of the module in ``train/stages/`` that only workers import."""

    function: ClassVar[str]

    def run(self, spec: StageSpec, artifact: Artifact) -> None:
        module, _, function = self.function.partition(":")
        getattr(importlib.import_module(module), function)(spec, artifact)


@stage_kind("sft")
class Sft(Shipped):
    """Supervised fine-tuning on the targets of the training items."""

    function = "adhere.train.stages.sft:run_sft"
    workload = "sft"
    timing = (
        "sft.per_device_batch_size", "sft.gradient_accumulation", "sft.gradient_checkpointing", "sft.max_length",
        "sft.tokens_per_microbatch", "model.adapter.kind", "launcher.processes", "launcher.strategy",
        "launcher.offload",
    )  # fmt: skip

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        # A row that is too long stops the stage, or changes what it makes.
        left_out = SPEED_ONLY | (set() if recipe.sft.too_long == "drop" else {"too_long"})
        left_out |= set() if recipe.sft.tokens_per_microbatch else {"tokens_per_microbatch"}
        # Tokens are chosen within a batch of one device, so that its size decides which.
        left_out |= FACTORS if recipe.sft.token_share == 1.0 else FACTORS - {"per_device_batch_size"}
        return {
            "seed": recipe.seed,
            "batch": _batch(recipe, recipe.sft),
            "sft": recipe.sft.model_dump(exclude=left_out - _decides(recipe, "sft") | _at_default(recipe.sft)),
            **_measured_on(recipe, "sft"),
        }

    def problems(self, recipe: Recipe, stage: StageConfig) -> list[str]:
        found, length, context = _training_problems(recipe, "sft"), recipe.sft.max_length, context_of(recipe.model)
        found += _held_out_problems(recipe, "sft")
        if context is not None and length > context:
            found.append(f"sft.max_length: {length} exceeds the model's context of {context} tokens; lower it")
        if recipe.sft.token_share < 1.0 and recipe.sft.tokens_per_microbatch is not None:
            found.append("sft.token_share: packed updates train on every token; set sft.tokens_per_microbatch=null")
        if recipe.sft.tokens_per_microbatch is not None:
            unlike = ("label_smoothing_factor", "packing", "padding_free", "router_aux_loss_coef")
            found += [
                f"sft.tokens_per_microbatch: with sft.trl.{field} TRL's own batches are kept; leave that out, or set "
                f"sft.tokens_per_microbatch=null"
                for field in unlike
                if recipe.sft.trl.get(field)
            ]
        if recipe.sft.token_share == 1.0 and recipe.sft.token_entropy != SftConfig().token_entropy:
            found.append("sft.token_entropy: has no effect with token_share=1; lower that, or leave this out")
        if recipe.sft.hand_over == "best" and recipe.sft.held_out.every is None:
            found.append("sft.hand_over: best is best on held-out prompts; set sft.held_out.every, or use last")
        return found

    def arithmetic(self, recipe: Recipe) -> list[str]:
        sft, ranks = recipe.sft, recipe.launcher.processes
        batch = sft.per_device_batch_size * ranks * sft.gradient_accumulation
        length = f"{sft.max_steps} steps" if sft.max_steps > 0 else f"{sft.epochs:g} passes over the data"
        factors = f"{sft.per_device_batch_size} per device × {ranks} × {sft.gradient_accumulation}"
        return [f"{length} of {batch} sequences ({factors})", *_held_out_line(recipe, "sft")]

    def steps(self, recipe: Recipe) -> int | None:
        return recipe.sft.max_steps if recipe.sft.max_steps > 0 else None


@stage_kind("grpo")
class Grpo(Shipped):
    """Group relative policy optimisation on the composite reward."""

    function = "adhere.train.stages.grpo:run_grpo"
    workload = "grpo"
    scores = True
    timing: ClassVar[Sequence[str]] = (
        "grpo.per_device_batch_size", "grpo.gradient_accumulation", "grpo.gradient_checkpointing", "grpo.generation",
        "grpo.max_completion_length", "model.adapter.kind", "launcher.processes", "launcher.strategy",
        "launcher.offload",
    )  # fmt: skip

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        left_out = SPEED_ONLY - _decides(recipe, "grpo") | _at_default(recipe.grpo)
        # Some losses are a mean, or choose tokens, over a micro-batch, so that its size is a part of them.
        by_batch = recipe.grpo.loss == "bnpo" or any("entropy" in key for key in keeps_trls_batches(recipe.grpo))
        left_out |= FACTORS - {"per_device_batch_size"} if by_batch else FACTORS
        grpo = recipe.grpo.model_dump(exclude=left_out | {"seed"})
        if "imitation" in grpo:  # targets of a step, of all ranks
            grpo["imitation"]["rows"] *= recipe.launcher.processes
        # What is generated at once counts by the optimizer steps that it feeds.
        if micro := grpo["trl"].get("steps_per_generation"):
            grpo["trl"] = grpo["trl"] | {"steps_per_generation": micro / recipe.grpo.gradient_accumulation}
        if recipe.grpo.relabel.advantage == 0.0:  # a key that came later: without it stages keep the names they had
            del grpo["relabel"]
        grpo["vllm"] = vllm_settings(recipe.grpo.vllm, recipe.grpo.generation)
        # Keys that came later: without them stages keep the names that they had.
        if recipe.grpo.curriculum.every is None:
            del grpo["curriculum"]
        if recipe.grpo.kl_follows == "fixed":
            del grpo["kl_follows"]
        rewards = recipe.rewards.model_dump()
        kinds = recipe.rewards.components
        components = {
            name: _by_judgement({key: v for key, v in component.items() if key not in kinds[name].operational})
            for name, component in rewards["components"].items()
        }
        return {
            "seed": recipe.grpo_seed,
            "batch": recipe.completions_per_step,
            "grpo": grpo,
            "rewards": rewards | {"components": components},
            **_measured_on(recipe, "grpo"),
        }

    def arithmetic(self, recipe: Recipe) -> list[str]:
        grpo, ranks, completions = recipe.grpo, recipe.launcher.processes, recipe.completions_per_step
        prompts = completions // grpo.group_size
        per_step = f"{prompts} {'prompt' if prompts == 1 else 'prompts'} × {grpo.group_size} completions"
        micro = int(grpo.trl.get("steps_per_generation") or grpo.gradient_accumulation)
        passes = grpo.iterations
        batch = grpo.per_device_batch_size * ranks * micro
        steps = micro * passes / grpo.gradient_accumulation
        feeds = f"feeds {steps:g} {'step' if steps == 1 else 'steps'}"
        tokens, every = grpo.max_steps / steps * batch * grpo.max_completion_length, grpo.curriculum.every
        return [
            f"{grpo.max_steps} steps × {completions} completions ({grpo.per_device_batch_size} per device × {ranks} "
            f"{'rank' if ranks == 1 else 'ranks'} × {grpo.gradient_accumulation} accumulated) = {per_step} a step, "
            f"at most {grpo.max_completion_length} tokens each",
            f"{batch} completions generated at once ({grpo.per_device_batch_size * micro} per device), which {feeds}; "
            f"at most {tokens / 1e6:,.1f} M tokens generated in all",
            *([f"prompts by the rates of their kinds, measured every {every} steps"] if every is not None else []),
            *_held_out_line(recipe, "grpo"),
        ]

    def problems(self, recipe: Recipe, stage: StageConfig) -> list[str]:
        found = [*_training_problems(recipe, "grpo"), *_held_out_problems(recipe, "grpo"), *_loss_problems(recipe)]
        if recipe.grpo.relabel.advantage and (recipe.grpo.exact_trl or recipe.grpo.kl_coefficient):
            other = "exact_trl=true" if recipe.grpo.exact_trl else "a KL term (grpo.kl_coefficient)"
            found.append(f"grpo.relabel.advantage: replays are rows of adhere's own updates, and not with {other}")
        if "held_out" in recipe.grpo.monitors.stop_on and recipe.grpo.held_out.every is None:
            found.append("grpo.monitors.stop_on: 'held_out' needs grpo.held_out.every")
        grpo, decided = recipe.grpo, {component.decides for component in recipe.rewards.components.values()}
        if grpo.relabel.advantage > 0.0 and "requirements" not in decided:
            found.append(
                "grpo.relabel.advantage: no component decides requirements, so nothing is replayed; add a checklist"
            )
        whole = {
            "relabel.advantage: replays prompts by what was met of": grpo.relabel.advantage > 0.0,
            "curriculum.every: orders prompts by the rates of": grpo.curriculum.every is not None,
        }
        found += [
            f"grpo.{what} all their requirements, and grpo.ladder.start leaves some out; use one of them"
            for what, on in whole.items()
            if on and grpo.ladder.start is not None
        ]
        asks = {"ladder.start": grpo.ladder.start is not None, "relabel.advantage": grpo.relabel.advantage > 0.0}
        found += [
            f"grpo.{key}: asks for requirements that a prompt is scored by, and a shuffled source of data.train, a "
            f"control, scores it by others; leave one of them out"
            for key, on in asks.items()
            if on and any(source.shuffled for source in recipe.data.train)
        ]
        for key, weight in (("relabel.advantage", grpo.relabel.advantage), ("imitation.weight", grpo.imitation.weight)):
            if weight > 0.0 and grpo.learning_rate_follows == "live_share":
                found.append(
                    f"grpo.learning_rate_follows: live_share would scale what grpo.{key} trains on by the share of "
                    f"groups with an advantage, which it does not need; use schedule, or leave one of them out"
                )
        if grpo.kl_follows == "live_share" and (grpo.kl_coefficient == 0.0 or grpo.exact_trl):
            why = "it needs adhere's own updates, not exact_trl=true" if grpo.exact_trl else "there is no KL term"
            found.append(f"grpo.kl_follows: {why}; set grpo.kl_coefficient, or leave it fixed")
        if grpo.curriculum.every is not None:
            if grpo.generation != "transformers" or grpo.exact_trl:
                other = "exact_trl=true" if grpo.exact_trl else f"generation={grpo.generation}"
                found.append(
                    f"grpo.curriculum.every: works with grpo.generation=transformers in adhere's own loop, not {other}"
                )
            if recipe.launcher.strategy == "fsdp2":
                found.append(
                    "grpo.curriculum.every: ranks draw different numbers of rollouts, which fsdp2 cannot; use ddp or "
                    "zero3"
                )
            if "requirements" not in decided:
                found.append(
                    "grpo.curriculum.every: no component decides requirements, so no kind has a rate; add a checklist"
                )
        return found

    def steps(self, recipe: Recipe) -> int | None:
        return recipe.grpo.max_steps


@stage_kind("distill")
class Distill(Grpo):
    """On-policy distillation from other models, or from the policy itself where it knows more; else as GRPO."""

    inputs: ClassVar[Mapping[str, int]] = {"teachers": 0}
    timing = (*Grpo.timing, "distill.form")

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return super().settings(recipe) | {"distill": recipe.distill.model_dump()}

    def problems(self, recipe: Recipe, stage: StageConfig) -> list[str]:
        distill, found = recipe.distill, super().problems(recipe, stage)
        count = len(stage.inputs.get("teachers", [])) + len(distill.models)
        if distill.teacher == "models" and not count:
            found.append(
                "distill.teacher: models, and none is named; name stages in inputs: {teachers: [..]} or paths in "
                "distill.models, or set distill.teacher=self"
            )
        if distill.teacher == "self" and (count or distill.routes):
            found.append("distill.teacher: self, so no other teacher or route is asked; leave them out, or use models")
        if distill.teacher == "models" and distill.ema:
            found.append("distill.ema: only distill.teacher=self moves; leave it out")
        routes = distill.routes or (["all"] if count == 1 else [])
        if distill.teacher == "models" and count and len(routes) != count:
            found.append(f"distill.routes: {len(routes)} for {count} teachers; say for each which prompts it gets")
        for route in routes:
            if route not in ROUTES and not route.removeprefix("source="):
                found.append("distill.routes: 'source=' names no source; write source=LABEL")
            elif route not in ROUTES and not route.startswith("source="):
                found.append(f"distill.routes: '{route}' is none of {', '.join(ROUTES)}, source=LABEL")
        if distill.coefficient == 0.0 and distill.reward == 0.0:
            found.append("distill.coefficient: 0, and distill.reward is 0 too, so there is nothing to train on")
        grpo = recipe.grpo
        looking = {
            "refill": grpo.refill,
            "learning_rate_follows": grpo.learning_rate_follows == "live_share",
            "kl_follows": grpo.kl_follows == "live_share",
            "admission": grpo.admission != GrpoConfig().admission,
            "token_credit.strength": grpo.token_credit.strength > 0.0,
        }
        for key in (key for key, on in looking.items() if on and distill.reward == 0.0):
            found.append(f"grpo.{key}: looks at the reward's advantages, and distill.reward is 0; leave it out")
        if grpo.require_signal == "stop":
            found.append(
                "grpo.require_signal: only stages of kind grpo are rehearsed, so that stop would stop nothing; set "
                "warn in the stage's with:"
            )
        if grpo.ladder.start is not None:
            found.append(
                "grpo.ladder.start: a teacher is asked about prompts with all of their requirements, and a ladder "
                "leaves some out; set it to null"
            )
        if keeps := keeps_trls_batches(grpo):
            found.append(
                f"grpo.{keeps[0]}: keeps TRL's own micro-batches (docs/performance.md), which know no teacher; leave "
                f"it out"
            )
        told = distill.context in ("requirements", "feedback") or distill.constraint_weight > 0.0
        if told and any(source.shuffled for source in recipe.data.train):
            found.append(
                "distill.context: a teacher is told the requirements that a prompt is scored by, and a shuffled source "
                "of data.train, a control, scores it by others; leave one of them out"
            )
        decided = {component.decides for component in recipe.rewards.components.values()}
        if distill.context == "feedback" and not decided & {"requirements", "correctness"}:
            found.append(
                "distill.context: feedback says which requirements were not met and whether the answer is wrong, and "
                "no component decides either; add a checklist or math"
            )
        if distill.ratio_bounds is not None and not 0.0 <= distill.ratio_bounds[0] <= 1.0 <= distill.ratio_bounds[1]:
            found.append(f"distill.ratio_bounds: {list(distill.ratio_bounds)} leave 1 out, the ratio of a fresh token")
        if distill.teacher == "self" and distill.context == "none" and distill.constraint_weight == 0.0:
            found.append("distill.context: none, and distill.teacher is self, so it knows no more than the policy")
        if distill.constraint_weight and distill.form != "sampled":
            found.append(
                f"distill.constraint_weight: is an advantage of sampled tokens, not {distill.form}; use sampled"
            )
        if recipe.grpo.exact_trl:
            found.append("grpo.exact_trl: a teacher needs adhere's own updates; set it to false")
        if recipe.launcher.strategy not in ("single", "ddp"):
            found.append(f"launcher.strategy: a distill stage runs with single or ddp, not {recipe.launcher.strategy}")
        return found

    def arithmetic(self, recipe: Recipe) -> list[str]:
        distill = recipe.distill
        what = {"sampled": "log-probs of the sampled tokens", "reverse_kl": "KL(policy‖teacher)"}
        said = f"{what.get(distill.form, 'KL(teacher‖policy)')} × {distill.coefficient:g}"
        routes = f", routed by {', '.join(distill.routes)}" if distill.routes else ""
        teacher = "the policy itself" if distill.teacher == "self" else "other models"
        return [
            *super().arithmetic(recipe),
            f"taught by {teacher}{routes}: {said}, reward's advantage × {distill.reward:g}",
        ]


@stage_kind("merge")
class Merge(Shipped):
    """One model out of several of equal shape: a weighted mean of their weights, or SLERP between two."""

    function = "adhere.train.stages.merge:run_merge"
    data = None
    distributed = False
    inputs: ClassVar[Mapping[str, int]] = {"models": 2}
    timing = ("merge.method",)

    def needs(self, recipe: Recipe, stage: StageConfig, weights: int) -> Needs:
        # Two models in float32 at a time, in host memory; each is read once and the result is written.
        gib, files = 4 * weights / 2**30, len(stage.inputs["models"]) + 1
        seconds = (20.0 + files * gib / 3.0, 120.0 + files * gib / 0.2)
        return Needs(0.0, 2 * gib, seconds, "models read and written at 0.2 to 3 GiB/s")

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        merge = recipe.merge.model_dump()
        if recipe.merge.method == "rain":
            return {"seed": recipe.seed, "merge": merge, "data": fingerprint(recipe.data, "train")}
        return {"merge": {key: merge[key] for key in ("method", "weights")}}

    def problems(self, recipe: Recipe, stage: StageConfig) -> list[str]:
        merge, count, found = recipe.merge, len(stage.inputs["models"]), []
        if merge.weights is not None and len(merge.weights) != count:
            found.append(f"merge.weights: {len(merge.weights)} weights for {count} models; name one for each")
        if merge.method == "slerp" and count != 2:
            found.append(f"merge.method: slerp goes between 2 models, {count} are named; use linear")
        if merge.method == "rain" and count != 2:
            found.append(f"merge.method: rain takes 2 models, one that reasons and one that follows, {count} are named")
        if merge.method == "rain" and merge.weights is not None:
            found.append("merge.weights: rain has none; set merge.instructions, the factor of what is added")
        if merge.method == "rain" and stage.source is None:
            found.append("merge.method: rain adds what the second model learned since its base; name that in from:")
        plain = MergeConfig()
        for key in ("traces", "trace_tokens", "cut", "leak", "instructions"):
            if merge.method != "rain" and getattr(merge, key) != getattr(plain, key):
                found.append(f"merge.{key}: has no effect with method={merge.method}; it is for rain")
        shares = merge.weights or [1.0]
        if merge.method == "slerp" and (min(shares) < 0.0 or abs(sum(shares) - 1.0) > 1e-6):
            found.append(f"merge.weights: {shares} are not shares, which slerp takes; let them add up to 1")
        return found

    def arithmetic(self, recipe: Recipe) -> list[str]:
        if recipe.merge.method == "rain":
            traces, most = recipe.merge.traces, recipe.merge.trace_tokens
            return [f"rain with the reasoning of {traces} answers protected, at most {most} tokens each"]
        shares = "equal shares" if recipe.merge.weights is None else ", ".join(f"{w:g}" for w in recipe.merge.weights)
        return [f"{recipe.merge.method} with {shares}"]


@stage_kind("pairs")
class Pairs(Shipped):
    """Preference pairs: responses drawn from a model, ordered by the composite reward."""

    function = "adhere.train.stages.pairs:run_pairs"
    makes = PAIRS
    distributed = False
    scores = True

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        grpo = kind_of("grpo").settings(recipe)
        pairs = recipe.pairs.model_dump(exclude={"batch_size"})
        return {"seed": grpo["seed"], "rewards": grpo["rewards"], "pairs": pairs}

    def arithmetic(self, recipe: Recipe) -> list[str]:
        pairs = recipe.pairs
        asked = "all training prompts" if pairs.prompts is None else f"{pairs.prompts} prompts"
        return [f"{pairs.samples} responses to {asked}, {pairs.keep:.0%} of the pairs kept by their {pairs.rank_by}"]


@stage_kind("dpo")
class Dpo(Shipped):
    """Direct preference optimisation on the pairs of another stage."""

    function = "adhere.train.stages.dpo:run_dpo"
    data = None
    inputs: ClassVar[Mapping[str, int]] = {"pairs": 1}
    takes: ClassVar[Mapping[str, str]] = {"pairs": PAIRS}
    timing = (
        "dpo.per_device_batch_size", "dpo.gradient_accumulation", "dpo.gradient_checkpointing", "model.adapter.kind",
        "launcher.processes", "launcher.strategy", "launcher.offload",
    )  # fmt: skip

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        dpo = recipe.dpo.model_dump(exclude=SPEED_ONLY | FACTORS | _at_default(recipe.dpo))
        return {"seed": recipe.seed, "batch": _batch(recipe, recipe.dpo), "dpo": dpo}

    def needs(self, recipe: Recipe, stage: StageConfig, weights: int) -> Needs:
        # Weights, their gradients, Adam's two moments and the frozen reference, in float32.
        words = 5 if recipe.model.adapter.kind == "none" else 1
        return Needs(device_gib=4 * words * weights / 2**30, basis="weights and states; activations are not counted")

    def problems(self, recipe: Recipe, stage: StageConfig) -> list[str]:
        found = _training_problems(recipe, "dpo")
        if recipe.preflight:
            found.append(
                "preflight: no worst-case step is known for a dpo stage; set preflight=false for it in its with:"
            )
        return found

    def arithmetic(self, recipe: Recipe) -> list[str]:
        dpo, ranks = recipe.dpo, recipe.launcher.processes
        length = f"{dpo.max_steps} steps on pairs" if dpo.max_steps > 0 else f"{dpo.epochs:g} passes over the pairs"
        batch = dpo.per_device_batch_size * ranks * dpo.gradient_accumulation
        factors = f"{dpo.per_device_batch_size} per device × {ranks} × {dpo.gradient_accumulation}"
        return [f"{length}, {batch} a step ({factors})"]

    def steps(self, recipe: Recipe) -> int | None:
        return recipe.dpo.max_steps if recipe.dpo.max_steps > 0 else None


@stage_kind("rehearse")
class Rehearse(Shipped):
    """Groups of a GRPO stage, drawn and scored before it is trained; its settings are those of ``grpo``."""

    function = "adhere.train.stages.rehearse:run_rehearse"
    workload = "rehearse"
    timing = (
        "rehearse.groups", "grpo.group_size", "grpo.per_device_batch_size", "grpo.max_completion_length",
        "model.adapter.kind",
    )  # fmt: skip
    makes = None
    distributed = False
    scores = True

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        grpo = kind_of("grpo").settings(recipe)
        names = ("group_size", "max_completion_length", "max_steps", "temperature", "top_p")
        drawn: dict[str, Any] = {"prompts": recipe.completions_per_step // recipe.grpo.group_size}
        drawn |= {name: getattr(recipe.grpo, name) for name in names}
        if recipe.grpo.imitation.weight > 0.0:  # prompts without a target are left out
            drawn["targets"] = True
        if recipe.grpo.ladder.start is not None:
            drawn["ladder"] = recipe.grpo.ladder.model_dump()
        return {
            "seed": grpo["seed"],
            "grpo": drawn,
            "rewards": grpo["rewards"],
            "rehearse": recipe.rehearse.model_dump(exclude_none=True),
        }

    def arithmetic(self, recipe: Recipe) -> list[str]:
        groups, size = recipe.rehearse.groups, recipe.grpo.group_size
        tokens = groups * size * recipe.grpo.max_completion_length
        return [f"{groups} groups of {size} completions, at most {tokens / 1e6:,.2f} M tokens generated"]


@stage_kind("evaluate")
class Evaluate(Shipped):
    """One model measured on one suite; a stage of this kind is one artifact for each model of its ``of``."""

    function = "adhere.train.stages.evaluate:run_evaluate"
    workload = "evaluation"
    timing = (
        "evaluation.backend", "evaluation.batch_size", "evaluation.sampling.max_new_tokens",
        "evaluation.sampling.samples", "evaluation.without_constraints",
    )  # fmt: skip
    makes = None
    data = "evaluation"
    distributed = False

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        evaluation = recipe.evaluation.model_dump(exclude={"path", "batch_size", "responses", "suites"})
        for key in ("limit", "remedy"):  # keys that came later: without them stages keep the names that they had
            if evaluation[key] is None:
                del evaluation[key]
        return {"seed": recipe.seed, "evaluation": _by_judgement(evaluation)}


def _batch(recipe: Recipe, config: SftConfig | DpoConfig) -> int:
    """Return how many sequences or pairs an optimizer step trains on, all ranks together."""
    return config.per_device_batch_size * recipe.launcher.processes * config.gradient_accumulation


def _decides(recipe: Recipe, section: Literal["sft", "grpo"]) -> set[str]:
    """Return those of ``SPEED_ONLY`` that decide which weights the stage hands over."""
    config = getattr(recipe, section)
    best = config.hand_over == "best"
    uses = config.held_out.every is not None and (best or config.held_out.stop_when is not None)
    return ({"save_steps"} if best else set()) | ({"held_out"} if uses else set())


def _at_default(config: SftConfig | GrpoConfig | DpoConfig) -> set[str]:
    """Return those of ``LATER`` that have their default."""
    plain = type(config)()
    return {key for key in LATER if getattr(config, key, None) == getattr(plain, key, None)}


def _training_problems(recipe: Recipe, section: Literal["sft", "grpo", "dpo"]) -> list[str]:
    """Return what the levers of every training section cannot be set to here."""
    config, strategy, found = getattr(recipe, section), recipe.launcher.strategy, list[str]()
    if config.ema is not None and strategy not in ("single", "ddp"):
        found.append(f"{section}.ema: each rank averages whole weights, which {strategy} divides; use ddp, or null")
    if config.ema is not None and getattr(config, "hand_over", "last") == "best":
        found.append(
            f"{section}.ema: hands over an average, and {section}.hand_over=best a checkpoint; use one of them"
        )
    if config.lr_floor != LR_FLOOR and config.lr_scheduler != "cosine_with_floor":
        found.append(
            f"{section}.lr_floor: has no effect with lr_scheduler={config.lr_scheduler}; use cosine_with_floor, or "
            f"leave it out"
        )
    if config.optimizer == "adamw_8bit" and strategy not in ("single", "ddp"):
        found.append(f"{section}.optimizer: adamw_8bit works with the strategies single and ddp, not {strategy}")
    if config.optimizer == "adamw_8bit" and recipe.launcher.device == "cpu":
        found.append(f"{section}.optimizer: adamw_8bit needs a GPU, and launcher.device is cpu; use adamw")
    return found


def _loss_problems(recipe: Recipe) -> list[str]:
    """Return the keys of GRPO's loss that contradict each other, or that nothing reads."""
    grpo, plain, found = recipe.grpo, GrpoConfig(), list[str]()
    clips = ("dapo", "grpo", "bnpo", "dr_grpo", "luspo")
    read_by: dict[str, Sequence[str]] = {
        "clip_low": clips, "clip_high": clips, "clip_ratio": clips, "cispo_weight": ["cispo"],
        "sapo_positive": ["sapo"], "sapo_negative": ["sapo"], "ratio_level": [*clips, "cispo", "sapo"],
    }  # fmt: skip
    for key, losses in read_by.items():
        if getattr(grpo, key) != getattr(plain, key) and grpo.loss not in losses:
            found.append(f"grpo.{key}: has no effect with loss={grpo.loss}; it is for {', '.join(losses)}")
    high = grpo.clip_low if grpo.clip_high is None else grpo.clip_high
    if grpo.clip_ratio is not None and grpo.clip_ratio <= 1.0 + high:
        found.append(f"grpo.clip_ratio: {grpo.clip_ratio} has to be above 1 + clip_high, {1.0 + high:g}")
    if grpo.reference_every is None and grpo.reference_mix != plain.reference_mix:
        found.append("grpo.reference_mix: has no effect without grpo.reference_every; set it, or leave this out")
    if grpo.reference_every is not None:
        if grpo.kl_coefficient == 0.0:
            found.append("grpo.reference_every: without grpo.kl_coefficient there is no reference; set it above 0")
        if recipe.model.adapter.kind != "none":
            found.append("grpo.reference_every: with adapters the reference is the model without them; use null")
        if recipe.launcher.strategy not in ("single", "ddp"):
            found.append(
                f"grpo.reference_every: {recipe.launcher.strategy} divides the reference, which checkpoints hold "
                f"whole; use ddp, or null"
            )
    if grpo.exact_trl and grpo.ladder.start is not None:
        found.append("grpo.ladder.start: changes the prompts, which exact_trl=true keeps; set one of them back")
    if grpo.imitation.weight > 0.0 and recipe.launcher.strategy not in ("single", "ddp"):
        found.append(
            f"grpo.imitation.weight: a second backward pass of a step works with the strategies single and ddp, not "
            f"{recipe.launcher.strategy}"
        )
    if grpo.imitation.weight > 0.0 and grpo.exact_trl:
        found.append(
            "grpo.imitation.weight: is no part of TRL's loss, which exact_trl=true keeps; set one of them back"
        )
    if grpo.exact_trl and grpo.admission != plain.admission:
        found.append("grpo.admission: changes advantages, which exact_trl=true keeps; set one of them back")
    if (unknown := [name for name in grpo.ladder.order if not expand([name])]) and grpo.ladder.start is not None:
        found.append(f"grpo.ladder.order: there is no constraint, family or collection '{unknown[0]}'")
    lacks = {
        "token_credit.strength": "no weights of tokens" if grpo.token_credit.strength > 0.0 else None,
        "relabel.advantage": "no replays" if grpo.relabel.advantage > 0.0 else None,
        "kl_follows": "a fixed KL term" if grpo.kl_follows == "live_share" else None,
    }
    for key, lack in lacks.items():
        if lack is not None and (keeps := keeps_trls_batches(grpo)):
            found.append(
                f"grpo.{key}: grpo.{keeps[0]} keeps TRL's own micro-batches (docs/performance.md), which have {lack}; "
                f"leave one of them out"
            )
    return found


def keeps_trls_batches(grpo: GrpoConfig) -> list[str]:
    """Return the keys below ``grpo`` whose loss is more than a weighted sum over tokens, which packed updates need."""
    plain = GrpoConfig()
    own = ("entropy_coefficient", "entropy_target", "entropy_top")
    found = [key for key in own if getattr(grpo, key) != getattr(plain, key)] + ["loss"] * (grpo.loss == "vespo")
    off = plain.trl_fields() | {"off_policy_mask_threshold": None}
    fields = ("entropy_coef", "use_adaptive_entropy", "top_entropy_quantile", "off_policy_mask_threshold")
    return found + [f"trl.{field}" for field in fields if grpo.trl.get(field, off[field]) != off[field]]


def _held_out_line(recipe: Recipe, section: Literal["sft", "grpo"]) -> list[str]:
    held_out = getattr(recipe, section).held_out
    if held_out.every is None:
        return []
    return [f"measured on up to {held_out.items} held-out prompts before, every {held_out.every} steps, and at the end"]


def _held_out_problems(recipe: Recipe, section: Literal["sft", "grpo"]) -> list[str]:
    config = getattr(recipe, section)
    every, found = config.held_out.every, []
    if every is not None and not recipe.data.evaluation:
        found.append(f"{section}.held_out.every: the recipe has no data.evaluation to measure on; name a source there")
    if every is not None and config.hand_over == "best" and config.save_steps % every:
        found.append(
            f"{section}.save_steps: {config.save_steps} is not a multiple of {section}.held_out.every ({every}), so "
            f"that not every checkpoint is measured and hand_over=best could not compare them; change one of them"
        )
    return found


def _measured_on(recipe: Recipe, section: Literal["sft", "grpo"]) -> dict[str, Any]:
    """Return what decides the figures of an evaluation while training, where the weights depend on it."""
    if "held_out" not in _decides(recipe, section):
        return {}
    evaluation = recipe.evaluation
    measured = {
        "size": recipe.data.evaluation_size,
        "mode": evaluation.mode,
        "tokens": evaluation.sampling.max_new_tokens if section == "sft" else recipe.grpo.max_completion_length,
        "judge": None if evaluation.judge is None else evaluation.judge.model_dump(mode="json"),
    }
    return {"held_out": _by_judgement(measured)}


def _by_judgement(settings: dict[str, Any]) -> dict[str, Any]:
    """Return ``settings`` without what only says how its judge is reached: a run goes on under another address."""
    judge = settings.get("judge")
    kept = {key: value for key, value in settings.items() if key != "judge"}
    return kept | ({} if judge is None else {"judge": {k: v for k, v in judge.items() if k not in OPERATIONAL}})
