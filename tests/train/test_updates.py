"""Updates on packed micro-batches have the gradients of TRL's padded ones, for every loss, and leave no one waiting."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import update_gradients
from attempts import prepare, whole
from peft import LoraConfig
from safetensors.torch import load_file
from update_gradients import Recorder, first_rank, flat, save_model, train

from adhere.evaluation.reweight import read_rollouts
from adhere.records.tables import read_rollout_files, rollout_files, rollout_step
from adhere.train.config.stage import read_spec
from adhere.train.stages.microbatches import LOSSES, Microbatch, Packing, Rows, pack_rows, trim_slot

PACKED = Packing(tokens=100)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder


def apart(padded: list[torch.Tensor], packed: list[torch.Tensor]) -> float:
    """Return the largest distance of two gradients of the same step, as a share of the padded one's length."""
    assert len(padded) == len(packed) > 0
    return max(
        float((one - other).norm() / one.norm().clamp(min=1e-12)) for one, other in zip(padded, packed, strict=True)
    )


def logged(trainer: Recorder) -> list[dict[str, float]]:
    """Return what was logged at each step, without times and without the entropy, which is that of fewer rows."""
    left_out = {"step_time", "entropy", "loss", "grad_norm"}
    return [
        {name: value for name, value in row.items() if name not in left_out}
        for row in trainer.state.log_history
        if "reward" in row
    ]


def same(model: Path, packing: Packing = PACKED, **given: Any) -> tuple[Recorder, Recorder]:
    """Train padded and packed, and check that gradients and figures agree."""
    padded, packed = train(model, None, **given), train(model, packing, **given)
    assert apart(padded.gradients, packed.gradients) < 1e-5
    assert any(gradient.norm() > 0.01 for gradient in padded.gradients), "else nothing is compared"
    for one, other in zip(logged(padded), logged(packed), strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)
    return padded, packed


@pytest.mark.slow
@pytest.mark.parametrize("kl", [0.0, 0.1])
@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("accumulation", [1, 2, 4])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_the_padded_form(
    model: Path, loss: str, accumulation: int, iterations: int, kl: float
) -> None:
    same(model, loss_type=loss, gradient_accumulation_steps=accumulation, num_iterations=iterations, beta=kl)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("generation", "accumulation", "iterations"),
    [(1, 2, 1), (2, 1, 1), (4, 2, 1), (4, 2, 2), (1, 4, 2), (2, 4, 2), (3, 2, 1), (2, 3, 1), (1, 1, 3), (2, 3, 2)],
)
def test_also_where_generations_and_optimizer_steps_do_not_coincide(
    model: Path, generation: int, accumulation: int, iterations: int
) -> None:
    same(
        model, gradient_accumulation_steps=accumulation, steps_per_generation=generation, num_iterations=iterations,
        steps=5,
    )  # fmt: skip


OTHERS = {
    "ratios of whole sequences": {"importance_sampling_level": "sequence", "num_iterations": 2},
    "a bound on both sides": {"delta": 1.5, "num_iterations": 2},
    "a KL without correction": {"beta": 0.1, "use_bias_correction_kl": False},
    "truncated completions masked": {"mask_truncated_completions": True},
    "lengths of a multiple of eight": {"pad_to_multiple_of": 8},
    "checkpointing": {"gradient_checkpointing": True},
    "an entropy bonus": {"entropy_coef": 0.1},
    "tokens of high entropy only": {"top_entropy_quantile": 0.5},
    "vespo": {"loss_type": "vespo", "num_iterations": 2},
    "off-policy rows masked": {"off_policy_mask_threshold": 0.1, "num_iterations": 2},
    "rewards scaled by the batch": {"scale_rewards": "batch"},
}


@pytest.mark.slow
@pytest.mark.parametrize("given", OTHERS.values(), ids=OTHERS)
def test_also_under_the_further_options_of_the_loss(model: Path, given: dict[str, Any]) -> None:
    same(model, gradient_accumulation_steps=2, **given)


@pytest.mark.slow
@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_also_for_adapters(model: Path, kl: float) -> None:
    """Their reference is the same model without them."""
    padded, packed = (
        train(model, packing, peft=LoraConfig(r=4, target_modules="all-linear"), beta=kl, num_iterations=2)
        for packing in (None, PACKED)
    )
    assert logged(packed)[-1] == pytest.approx(logged(padded)[-1], rel=1e-4, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_kl_term_follows_its_share(model: Path, share: float) -> None:
    """Two passes over each generation: the policy has left its reference in the second one."""
    given: dict[str, Any] = {"num_iterations": 2, "steps": 4}
    plain = train(model, PACKED, beta=0.2 * share + 1e-12, **given)  # with a reference, whose rows all count
    scaled = train(model, PACKED, beta=0.2, **given, share=share)
    whole_term = train(model, PACKED, beta=0.2, **given)
    assert apart(plain.gradients, scaled.gradients) < 1e-5
    assert apart(plain.gradients, whole_term.gradients) > 1e-3


@pytest.mark.slow
def test_rows_without_advantage_are_trained_on_only_where_they_have_a_gradient(model: Path) -> None:
    padded, packed = same(model, per_device_train_batch_size=16)
    rows = [sum(rows for rows, _ in trainer.trained) for trainer in (padded, packed)]
    assert rows[1] < rows[0]
    for kept in ({"beta": 0.1}, {"entropy_coef": 0.1}):
        padded, packed = same(model, per_device_train_batch_size=16, **kept)
        assert sum(rows for rows, _ in packed.trained) == sum(rows for rows, _ in padded.trained)
    everything = train(model, Packing(100, skip_zero_advantage=False), per_device_train_batch_size=16)
    assert sum(rows for rows, _ in everything.trained) == rows[0]


@pytest.mark.slow
def test_a_step_without_any_advantage_still_decays_and_moves_by_momentum(model: Path) -> None:
    given: dict[str, Any] = {"reward": flat, "weight_decay": 0.1}
    padded, packed = train(model, None, **given), train(model, PACKED, **given)
    assert all(not gradient.any() for gradient in packed.gradients) and len(packed.gradients) == 3
    assert len(packed.trained) == 3, "one row a step, for the optimizer and the other ranks"
    for one, other in zip(padded.model.parameters(), packed.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_no_pass_is_spent_on_old_log_probs_that_an_update_gives(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only rows that an optimizer step comes before need one, and only those with an advantage."""
    passes: list[int] = []
    inner = update_gradients.PackedUpdates._log_probs

    def counted(self: Any, model: Any, batch: Any) -> Any:
        if not torch.is_grad_enabled():
            passes.append(len(batch.rows))
        return inner(self, model, batch)

    monkeypatch.setattr(update_gradients.PackedUpdates, "_log_probs", counted)
    train(model, PACKED, num_iterations=3)
    train(model, PACKED, gradient_accumulation_steps=4, steps_per_generation=1)
    assert passes == []
    train(model, PACKED, steps_per_generation=2, steps=2)
    assert 0 < sum(passes) <= 8


@pytest.mark.slow
@pytest.mark.parametrize("scored", [False, True])
def test_replays_of_later_steps_have_old_log_probs_also_where_trl_scored_the_rollouts(
    model: Path, monkeypatch: pytest.MonkeyPatch, scored: bool
) -> None:
    """As with vLLM, whose correction needs the rollouts' own; a replay behind its rollout's prompt has the same."""

    class Replays(Recorder):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            output |= {f"replay_{name}": output[name] for name in ("prompt_ids", "prompt_mask")}
            output["replay_advantages"] = torch.ones_like(output["advantages"])
            if scored:
                output["old_per_token_logps"] = torch.zeros_like(output["completion_ids"], dtype=torch.float32)
            return output

    monkeypatch.setattr(update_gradients, "Recorder", Replays)
    given = {"steps_per_generation": 2, "gradient_accumulation_steps": 1, "learning_rate": 0.0}
    trainer: Any = train(model, PACKED, steps=2, **given)
    first, later = trainer._buffered_inputs
    assert "replay_old_per_token_logps" not in first, "its own update gives them"
    expected = trainer.log_probs_behind(
        trainer.model,
        [[*ids[mask.bool()].tolist()] for ids, mask in zip(later["prompt_ids"], later["prompt_mask"], strict=True)],
        later,
        range(len(later["prompt_ids"])),
    )
    found, mask = later["replay_old_per_token_logps"], later["completion_mask"].bool()
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-4)
    assert bool((later["old_per_token_logps"] == 0.0).all()) is scored, "TRL's own are kept"


@pytest.mark.slow
def test_two_ranks_have_the_padded_gradients_also_where_one_has_no_rows(model: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, update_gradients.__file__, str(model)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    ranks = [torch.load(model / f"{rank}.pt") for rank in (0, 1)]
    for case, (padded, packed) in ranks[0].items():
        assert apart(padded, packed) < 1e-5, case
        assert apart(packed, ranks[1][case][1]) == 0.0, f"{case}: the ranks differ"
    assert ranks[0][f"{first_rank.__name__} 1"][1][0].any()


@pytest.mark.slow
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("generation", "accumulation", "iterations"), [(1, 4, 1), (2, 4, 2), (4, 2, 1), (2, 3, 1)])
def test_every_rollout_is_kept_once(
    tmp_path: Path, generation: int, accumulation: int, iterations: int, packed: bool
) -> None:
    """Whatever the ratio of generations to optimizer steps, and for `adhere report` and `reweight` alike."""
    artifact = prepare(
        tmp_path, "stages=[grpo]", "grpo.max_steps=4", "grpo.max_completion_length=8", "data.train_size=48",
        "grpo.max_clipped_steps=100", f"grpo.exact_trl={str(not packed).lower()}",
        f"grpo.gradient_accumulation={accumulation}", f"+grpo.trl.steps_per_generation={generation}",
        f"+grpo.trl.num_iterations={iterations}",
    )  # fmt: skip
    spec = read_spec(artifact.spec)
    artifact.handoff.write_text('{"stopped": 1.0}')
    whole(artifact)
    generations = math.ceil(4 * accumulation / (generation * iterations))
    table = read_rollout_files(rollout_files(artifact.rollouts))
    assert sorted(set(table.column("batch").to_pylist())) == list(range(generations))
    assert table.num_rows == generations * generation * spec.recipe.grpo.per_device_batch_size
    first = [generation * iterations * n // accumulation for n in range(generations)]
    assert [rollout_step(file) for file in rollout_files(artifact.rollouts)] == first
    names = list(spec.recipe.rewards.components)
    assert len(read_rollouts(artifact.rollouts, names, 4).batches) * 4 == table.num_rows


@pytest.mark.slow
@pytest.mark.parametrize("generation", ["transformers", "continuous_batching"])
def test_no_back_end_changes_the_type_of_the_trained_weights(tmp_path: Path, generation: str) -> None:
    """Decay by a millionth moves float32 weights; in bfloat16 all of them would stay where they are."""
    artifact = prepare(
        tmp_path, "stages=[grpo]", "grpo.max_steps=1", "grpo.max_completion_length=8", "model.dtype=bfloat16",
        "grpo.learning_rate=1e-6", "grpo.weight_decay=1", "grpo.lr_scheduler=constant", "grpo.warmup_steps=0",
        f"grpo.generation={generation}",
    )  # fmt: skip
    artifact.handoff.write_text('{"stopped": 1.0}')
    before = load_file(Path(read_spec(artifact.spec).recipe.model.path) / "model.safetensors")
    whole(artifact)
    after = load_file(artifact.model / "model.safetensors")
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    moved = sum(int((before[name].float() != after[name]).sum()) for name in after)
    assert moved > 0.5 * sum(tensor.numel() for tensor in after.values())


def test_the_best_packing_is_found() -> None:
    """Against every partition into runs of rows sorted by length; a row over the budget stands alone."""
    draw = random.Random(0)
    for _ in range(200):
        lengths = [draw.randint(1, 40) for _ in range(draw.randint(1, 8))]
        tokens, overhead = draw.randint(1, 120), draw.choice([0, 7, 50])
        found = pack_rows(lengths, tokens, overhead)
        assert sorted(itertools.chain(*found)) == list(range(len(lengths)))

        def cost(runs: list[list[int]], tokens: int = tokens, overhead: int = overhead) -> float:
            sizes = [len(run) * run[0] for run in runs]
            over = any(size > tokens and len(run) > 1 for size, run in zip(sizes, runs, strict=True))
            return math.inf if over else sum(sizes) + overhead * len(runs)

        order = sorted(lengths, reverse=True)
        cuts = itertools.chain.from_iterable(itertools.combinations(range(1, len(order)), k) for k in range(len(order)))
        best = min(cost([order[i:j] for i, j in itertools.pairwise((0, *cut, len(order)))]) for cut in cuts)
        assert cost([[lengths[i] for i in run] for run in found]) == best


def test_nothing_packs_into_nothing() -> None:
    assert pack_rows([], 100, 8) == []


def slot() -> dict[str, torch.Tensor]:
    """Two rows: prompts of 1 and 2 tokens, completions of 3 and 0, in a generation batch that was padded further."""
    return {
        "prompt_ids": torch.tensor([[1, 1, 1, 5], [1, 1, 6, 7]]),
        "prompt_mask": torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]),
        "completion_ids": torch.tensor([[8, 9, 0, 1, 1], [1, 1, 1, 1, 1]]),
        "completion_mask": torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]),
        "advantages": torch.tensor([1.0, 0.0]),
        "old_per_token_logps": torch.zeros(2, 5),
        "importance_sampling_ratio": torch.ones(2, 1),
        "num_items_in_batch": torch.tensor(3),
    }


def test_a_row_is_its_prompt_and_its_completion_without_padding() -> None:
    rows = Rows.of([slot(), slot()])
    assert [ids.tolist() for ids in rows.ids] == [[5, 8, 9, 0], [6, 7]] * 2
    assert rows.places == [(0, 0), (0, 1), (1, 0), (1, 1)] and rows.completions == [3, 0, 3, 0]


def test_what_slots_hold_comes_to_its_tokens_and_back() -> None:
    """Of any slot, one value a token or one a row; NaN where a slot has none."""
    rows = Rows.of([slot(), slot()])
    batch = Microbatch.of(rows, [2, 0], torch.ones(4), multiple=8)
    assert batch.ids.shape == (2, 8) and batch.targets.tolist() == [8, 9, 0] * 2
    by_token, by_row = torch.arange(10.0).view(2, 5), torch.tensor([[7.0], [8.0]])
    assert batch.flat(rows, [by_token, by_row]).tolist() == [7, 7, 7, 0, 1, 2]
    assert batch.flat(rows, [None, by_token]).nan_to_num(-1).tolist() == [0, 1, 2, -1, -1, -1]
    assert batch.by_row(torch.arange(6.0)).tolist() == [3, 12]
    into = [torch.zeros(2, 5), torch.zeros(2, 5)]
    batch.put(rows, torch.arange(1.0, 7.0), into)
    assert into[1][0].tolist() == [1, 2, 3, 0, 0] and into[0][0].tolist() == [4, 5, 6, 0, 0]


def test_a_slot_of_trls_own_is_trimmed_to_its_longest_row() -> None:
    cut = trim_slot(slot())
    shapes = {name: tuple(value.shape) for name, value in cut.items()}
    assert shapes["prompt_ids"] == (2, 2) and shapes["completion_mask"] == shapes["old_per_token_logps"] == (2, 3)
    assert shapes["importance_sampling_ratio"] == (2, 1) and shapes["advantages"] == (2,)
