"""The losses and levers of GRPO by their own keys: each reaches the gradient, and what nothing reads is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attempts import differences, logged, prepare, step_by_step, whole
from safetensors.torch import load_file
from update_gradients import Recorder, save_model, train

from adhere.records.artifact import Artifact
from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import GrpoConfig
from adhere.train.config.stage import read_spec
from adhere.train.launch.serve.servers import packages_of_stage
from adhere.train.plan.architecture import architecture_of
from adhere.train.plan.memory import stage_memory
from adhere.train.run.run import plan_run
from adhere.train.stages.grpo_trainer import grpo_arguments
from adhere.train.stages.microbatches import Packing

LEARNS = ["stages=[grpo]", "grpo.learning_rate=1e-3", "rewards.components.checklist.gate=null", "grpo.temperature=2"]
TWICE = {"num_iterations": 2, "learning_rate": 5.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder


def trained(model: Path, overrides: list[str], **more: Any) -> Recorder:
    """Train two steps on one generation with the loss that ``overrides`` of a recipe come to."""
    fields = compose_recipe([f"grpo.{override}" for override in overrides]).grpo.trl_fields()
    return train(model, Packing(tokens=100), **({"steps": 2, **fields, "max_completion_length": 8} | more))


def test_the_defaults_are_trls_own_loss() -> None:
    from trl import GRPOConfig as TrlGrpoConfig

    fields = {name: field.default for name, field in TrlGrpoConfig.__dataclass_fields__.items()}
    for name, value in GrpoConfig().trl_fields().items():
        assert value == fields[name], name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "against"),
    [
        (["loss=cispo"], []),
        (["loss=cispo", "cispo_weight=0.5"], ["loss=cispo"]),
        (["loss=sapo"], []),
        (["loss=sapo", "sapo_positive=3"], ["loss=sapo"]),
        (["loss=sapo", "sapo_negative=3"], ["loss=sapo"]),
        (["loss=luspo"], []),
        (["loss=luspo", "ratio_level=token"], ["loss=luspo"]),
        (["loss=vespo"], []),
        (["ratio_level=sequence"], []),
        (["clip_low=0.01"], []),
        (["clip_high=0.9"], []),
        (["mask_truncated=true"], []),
        (["entropy_coefficient=0.5"], []),
        (["entropy_target=9", "entropy_coefficient=0.5"], []),
        (["entropy_top=0.2"], []),
    ],
)
def test_every_lever_reaches_the_gradient(model: Path, keys: list[str], against: list[str]) -> None:
    levers, plain = trained(model, keys, **TWICE), trained(model, against, **TWICE)
    assert len(levers.gradients) == len(plain.gradients) == 2
    apart = [float((a - b).norm() / b.norm()) for a, b in zip(levers.gradients, plain.gradients, strict=True)]
    assert max(apart) > 1e-3, "the gradients are those without the lever"


@pytest.mark.slow
def test_a_generation_is_trained_on_as_often_as_the_key_says(model: Path) -> None:
    drawn = [len(trained(model, [f"num_iterations={n}"]).state.log_history) for n in (1, 2)]
    assert drawn[0] == drawn[1]
    once, twice = (trained(model, [f"num_iterations={n}"]) for n in (1, 2))
    rewards = [[row["reward"] for row in t.state.log_history if "reward" in row] for t in (once, twice)]
    assert rewards[0] != rewards[1], "the second step of two iterations draws nothing new"


@pytest.mark.slow
def test_rollouts_that_were_cut_are_not_trained_on(model: Path) -> None:
    """With a limit of one token most steps have no rollout that ended by itself, and then no gradient."""

    def odd(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [float(ids[0] % 2) for ids in completion_ids]

    given = {"max_completion_length": 1, "reward": odd, "steps": 4, "learning_rate": 1e-6}
    masked, plain = (trained(model, keys, **given) for keys in (["mask_truncated=true"], []))
    cut = [row["completions/clipped_ratio"] for row in masked.state.log_history if "reward" in row]
    norms = [[float(gradient.norm()) for gradient in one.gradients] for one in (masked, plain)]
    assert 1.0 in cut
    for share, ended, every in zip(cut, *norms, strict=True):
        assert share < 1.0 or ended == 0.0 < every


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        (["loss=cispo"], "epsilon_high", 5.0),
        (["loss=cispo", "cispo_weight=4"], "epsilon_high", 4.0),
        (["clip_high=0.28"], "epsilon_high", 0.28),
        (["clip_ratio=3"], "delta", 3.0),
        ([], "epsilon_high", None),
        (["loss=luspo"], "importance_sampling_level", "sequence"),
        (["loss=sapo"], "importance_sampling_level", "token"),
        (["reference_every=7", "kl_coefficient=0.1"], "ref_model_sync_steps", 7),
        (["reference_every=7", "kl_coefficient=0.1"], "sync_ref_model", True),
        (["entropy_target=0.3"], "use_adaptive_entropy", True),
        (["num_iterations=3"], "num_iterations", 3),
        (["lr_scheduler=cosine_with_floor"], "lr_scheduler_kwargs", {"min_lr_rate": 0.1}),
        (["lr_scheduler=cosine_with_floor", "lr_floor=0.3"], "lr_scheduler_kwargs", {"min_lr_rate": 0.3}),
    ],
)
def test_a_key_becomes_the_trainers_own_field(tmp_path: Path, keys: list[str], field: str, value: Any) -> None:
    artifact = prepare(tmp_path, "stages=[grpo]", *(f"grpo.{key}" for key in keys))
    assert getattr(grpo_arguments(read_spec(artifact.spec), artifact), field) == value


REFUSED = {
    "grpo.clip_high=0.3 grpo.loss=cispo": "grpo.clip_high: has no effect with loss=cispo",
    "grpo.clip_low=0.3 grpo.loss=sapo": "grpo.clip_low: has no effect with loss=sapo",
    "grpo.clip_ratio=3 grpo.loss=vespo": "grpo.clip_ratio: has no effect with loss=vespo",
    "grpo.cispo_weight=3": "grpo.cispo_weight: has no effect with loss=dapo; it is for cispo",
    "grpo.sapo_negative=3 grpo.loss=grpo": "grpo.sapo_negative: has no effect with loss=grpo; it is for sapo",
    "grpo.ratio_level=sequence grpo.loss=vespo": "grpo.ratio_level: has no effect with loss=vespo",
    "grpo.clip_ratio=1.2": r"grpo.clip_ratio: 1.2 has to be above 1 \+ clip_high, 1.2",
    "grpo.clip_ratio=1.25 grpo.clip_high=0.28": r"grpo.clip_ratio: 1.25 has to be above 1 \+ clip_high, 1.28",
    "grpo.reference_mix=0.3": "grpo.reference_mix: has no effect without grpo.reference_every",
    "grpo.reference_every=2": "grpo.reference_every: without grpo.kl_coefficient there is no reference",
    "grpo.reference_every=2 grpo.kl_coefficient=0.1 model.adapter.kind=lora": "grpo.reference_every: with adapters",
    "grpo.reference_every=2 grpo.kl_coefficient=0.1 strategy=zero3": "grpo.reference_every: zero3 divides",
    "grpo.entropy_top=0.2 grpo.token_credit.strength=1": "grpo.token_credit.strength: grpo.entropy_top keeps TRL's own",
    "grpo.loss=vespo grpo.token_credit.strength=1": "grpo.token_credit.strength: grpo.loss keeps TRL's own",
    "+grpo.trl.top_entropy_quantile=0.2 grpo.token_credit.strength=1": "grpo.trl.top_entropy_quantile keeps TRL's own",
    "grpo.loss=vespo grpo.relabel.advantage=1": "grpo.relabel.advantage: grpo.loss keeps TRL's own",
    "grpo.entropy_target=1 grpo.relabel.advantage=1": "grpo.relabel.advantage: grpo.entropy_target keeps TRL's own",
    "+grpo.trl.off_policy_mask_threshold=1 grpo.relabel.advantage=1": "grpo.trl.off_policy_mask_threshold keeps TRL's",
    "grpo.entropy_coefficient=1 grpo.kl_coefficient=0.1 grpo.kl_follows=live_share": "grpo.kl_follows: grpo.entropy_co",
    "grpo.relabel.advantage=1 grpo.learning_rate_follows=live_share": "live_share would scale what grpo.relabel.advan",
    "grpo.imitation.weight=1 grpo.learning_rate_follows=live_share": "live_share would scale what grpo.imitation.weigh",
    "grpo.relabel.advantage=1 ~rewards.components.checklist": "grpo.relabel.advantage: no component decides requirem",
    "grpo.ema=0.9 strategy=fsdp2": "grpo.ema: each rank averages whole weights, which fsdp2 divides",
    "grpo.ema=0.9 grpo.hand_over=best": "grpo.ema: hands over an average, and grpo.hand_over=best a checkpoint",
    "sft.ema=0.9 strategy=zero2": "sft.ema: each rank averages whole weights, which zero2 divides",
    "sft.lr_floor=0.3": "sft.lr_floor: has no effect with lr_scheduler=constant_with_warmup",
    "grpo.lr_floor=0.3 grpo.lr_scheduler=cosine": "grpo.lr_floor: has no effect with lr_scheduler=cosine",
    "grpo.optimizer=adamw_8bit launcher.device=cpu": "grpo.optimizer: adamw_8bit needs a GPU",
    "sft.optimizer=adamw_8bit strategy=zero2": "sft.optimizer: adamw_8bit works with the strategies single and ddp",
}


@pytest.mark.parametrize("overrides", REFUSED)
def test_what_nothing_reads_or_cannot_work_is_refused_while_planning(tmp_path: Path, overrides: str) -> None:
    base = [
        "recipe=quickstart",
        "~arms",
        "stages=[sft,grpo]",
        "sft.lr_scheduler=constant_with_warmup",
        f"run.root={tmp_path}",
    ]
    with pytest.raises(ConfigError, match=REFUSED[overrides]):
        plan_run([*base, *overrides.split()])


@pytest.mark.parametrize(
    "overrides",
    [
        "grpo.clip_high=0.28", "grpo.loss=cispo grpo.cispo_weight=3", "grpo.loss=sapo grpo.sapo_negative=2",
        "grpo.clip_ratio=4", "grpo.loss=cispo grpo.ratio_level=sequence", "grpo.ema=0.9 strategy=ddp",
        "grpo.reference_every=2 grpo.kl_coefficient=0.1 grpo.reference_mix=1", "sft.lr_scheduler=cosine_with_floor",
        "grpo.entropy_top=0.2", "grpo.token_credit.strength=1 grpo.loss=cispo", "grpo.optimizer=adamw_8bit",
        "grpo.relabel.advantage=1 grpo.loss=cispo", "+grpo.trl.entropy_coef=0.0 grpo.relabel.advantage=1",
        "grpo.loss=vespo grpo.imitation.weight=1", "grpo.entropy_top=0.2 grpo.learning_rate_follows=live_share",
        "grpo.relabel.advantage=1 grpo.imitation.weight=1", "grpo.loss=vespo grpo.admission.spread=0.1",
    ],
)  # fmt: skip
def test_the_near_miss_of_each_is_planned(tmp_path: Path, overrides: str) -> None:
    assert plan_run(["~arms", "stages=[sft,grpo]", f"run.root={tmp_path}", *overrides.split()]).graph.stages


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+grpo.trl.epsilon=0.1", "grpo.clip_low=0.3"], "grpo.trl.epsilon: grpo.clip_low sets it already"),
        (["+grpo.trl.epsilon_high=3", "grpo.loss=cispo"], "grpo.trl.epsilon_high: grpo.clip_high .cispo_weight"),
        (["+grpo.trl.num_iterations=2", "grpo.num_iterations=3"], "grpo.trl.num_iterations: grpo.num_iterations sets"),
        (["+grpo.trl.loss_type=sapo"], "grpo.trl.loss_type: is set by grpo.loss"),
    ],
)
def test_a_lever_is_set_in_one_place(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_recipe(overrides)


def test_the_field_of_trl_alone_still_counts(tmp_path: Path) -> None:
    artifact = prepare(tmp_path, "stages=[grpo]", "+grpo.trl.num_iterations=2", "+grpo.trl.epsilon=0.1")
    spec = read_spec(artifact.spec)
    found = grpo_arguments(spec, artifact)
    assert (found.num_iterations, found.epsilon, spec.recipe.grpo.iterations) == (2, 0.1, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "levers",
    [
        ["grpo.ema=0.5"],
        ["grpo.kl_coefficient=0.5", "grpo.reference_every=1", "grpo.reference_mix=0.5"],
        ["grpo.entropy_target=9", "grpo.entropy_coefficient=0.1"],
        ["grpo.lr_scheduler=cosine_with_floor", "grpo.lr_floor=0.5"],
    ],
)
def test_what_a_lever_keeps_survives_an_interruption(tmp_path: Path, levers: list[str]) -> None:
    one, other = (prepare(tmp_path / name, *LEARNS, "grpo.max_steps=4", *levers) for name in ("whole", "steps"))
    plain = prepare(tmp_path / "plain", *LEARNS, "grpo.max_steps=4", *[word for word in levers if "kl" in word])
    whole(one)
    whole(plain)
    assert step_by_step(other) == [1, 2, 3]
    assert differences(one, other) == []
    assert any(line.startswith("weights") for line in differences(plain, one)), "the lever changes nothing"


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_what_is_handed_over_is_the_average_of_the_weights(tmp_path: Path, adapter: str) -> None:
    def made(name: str, *levers: str) -> dict[str, torch.Tensor]:
        words = ["stages=[sft]", "sft.learning_rate=1e-2", f"model.adapter.kind={adapter}", *levers]
        artifact = prepare(tmp_path / name, *words)
        whole(artifact)
        (file,) = artifact.model.glob("*model.safetensors")
        return load_file(file)

    # After two steps θ̄ = d(dθ₀ + (1−d)θ₁) + (1−d)θ₂, and after one it is dθ₀ + (1−d)θ₁: two decays give θ₀ and θ₁.
    steps = ["sft.max_steps=1"]
    first, half, last = made("first", *steps), made("half", *steps, "sft.ema=0.5"), made("two", "sft.max_steps=2")
    average = made("average", "sft.max_steps=2", "sft.ema=0.25")
    for name in first:
        start = 2.0 * half[name] - first[name]
        expected = 0.25 * (0.25 * start + 0.75 * first[name]) + 0.75 * last[name]
        torch.testing.assert_close(average[name], expected, atol=1e-5, rtol=1e-4)
    assert any(not torch.equal(average[name], last[name]) for name in last)


@pytest.mark.slow
def test_the_learning_rate_falls_to_its_floor(tmp_path: Path) -> None:
    levers = ["sft.lr_scheduler=cosine_with_floor", "sft.lr_floor=0.25", "sft.learning_rate=1e-2", "sft.max_steps=4"]
    artifact: Artifact = prepare(tmp_path, "stages=[sft]", *levers)
    whole(artifact)
    rates = [row["learning_rate"] for row in logged(artifact) if "learning_rate" in row]
    assert rates[0] == pytest.approx(1e-2) and rates == sorted(rates, reverse=True)
    assert 0.25e-2 < rates[-1] < 0.5e-2


def test_8_bit_moments_take_a_quarter_and_name_their_package() -> None:
    a = architecture_of(
        {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 2, "vocab_size": 512, "max_position_embeddings": 256}
    )  # fmt: skip
    plain, small = (compose_recipe([f"grpo.optimizer={kind}"]) for kind in ("adamw", "adamw_8bit"))
    sizes = [stage_memory(recipe, "grpo", a).peak.parts["optimizer"] for recipe in (plain, small)]
    assert sizes[1] == pytest.approx(sizes[0] / 4, rel=0.02)
    averaged = compose_recipe(["grpo.ema=0.9"])
    assert stage_memory(averaged, "grpo", a).peak.parts["average"] == sizes[0] / 2
    assert "bitsandbytes" in packages_of_stage("grpo", small) and "bitsandbytes" not in packages_of_stage("grpo", plain)
    assert "bitsandbytes" not in packages_of_stage("sft", small)
    assert "bitsandbytes" in packages_of_stage("distill", small)


def key(*overrides: str) -> str:
    """Return the key of the recipe's training stage."""
    (stage,) = plan_run(
        ["~arms", "grpo.per_device_batch_size=8", "sft.per_device_batch_size=8", *overrides]
    ).graph.stages.values()
    return str(stage.key)


RANKS = ["strategy=ddp", "launcher.device=cpu", "launcher.processes=2"]


@pytest.mark.parametrize(
    ("kind", "levers", "divided"),
    [
        ("grpo", [], False),
        ("grpo", ["grpo.loss=dr_grpo"], False),
        ("grpo", ["grpo.loss=vespo"], False),
        ("grpo", ["grpo.loss=bnpo"], True),
        ("grpo", ["grpo.entropy_top=0.2"], True),
        ("grpo", ["grpo.entropy_coefficient=0.1"], True),
        ("grpo", ["+grpo.trl.top_entropy_quantile=0.2"], True),
        ("sft", [], False),
        ("sft", ["sft.token_share=0.8"], True),
    ],
)
def test_a_loss_over_a_micro_batch_has_its_size_in_the_key(kind: str, levers: list[str], divided: bool) -> None:
    """Ranks may change in any case; how a batch is divided only where that changes the loss by rounding alone."""
    one = key(f"stages=[{kind}]", f"{kind}.gradient_accumulation=2", *levers)
    assert key(f"stages=[{kind}]", f"{kind}.gradient_accumulation=1", *RANKS, *levers) == one
    smaller = [f"{kind}.per_device_batch_size=4", f"{kind}.gradient_accumulation=4"]
    assert (key(f"stages=[{kind}]", *smaller, *levers) != one) is divided
