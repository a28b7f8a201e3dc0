"""SFT on packed micro-batches has TRL's loss, gradients and figures, and goes on exactly where it was stopped."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from attempts import differences, logged, prepare, step_by_step, whole
from datasets import Dataset
from peft import LoraConfig
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig
from update_gradients import save_model

from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.compose import compose_recipe
from adhere.train.plan.memory import sft_microbatch_tokens
from adhere.train.run.run import plan_run
from adhere.train.stages.microbatches import Packing, Rows
from adhere.train.stages.sft_updates import PackedSft


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder


class Recorder(PackedSft):
    """Keeps the gradient of every optimizer step, and the shape of every forward pass of it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.gradients: list[torch.Tensor] = []
        self.shapes: list[tuple[int, ...]] = []

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        self.gradients.append(torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.requires_grad]))
        return super()._get_grad_norm(model, grad_norm=grad_norm)

    def _packed_loss(self, model: Any, batch: Any) -> torch.Tensor:
        self.shapes.append(tuple(batch.ids.shape))
        return super()._packed_loss(model, batch)


def train(folder: Path, packing: Packing | None, /, *, peft: Any = None, **given: Any) -> Recorder:
    """Train a few steps by SGD: Adam would make a whole step out of a rounding error."""
    draw = random.Random(0)
    rows = []
    for _ in range(48):
        prompt, target = draw.randint(1, 12), draw.randint(1, 40)
        ids = [draw.randint(2, 31) for _ in range(prompt + target)]
        rows.append({"input_ids": ids, "completion_mask": [0] * prompt + [1] * target})
    fields: dict[str, Any] = {
        "output_dir": str(folder / "sft"), "use_cpu": True, "bf16": False, "report_to": [], "save_strategy": "no",
        "max_steps": 3, "per_device_train_batch_size": 8, "learning_rate": 0.1, "optim": "sgd", "logging_steps": 1,
        "disable_tqdm": True, "max_grad_norm": 1e9, "gradient_checkpointing": False, "completion_only_loss": True,
        "max_length": 64,
    }  # fmt: skip
    trainer = Recorder(
        packing=packing,
        model=LlamaForCausalLM.from_pretrained(folder),
        args=SFTConfig(**(fields | given)),
        train_dataset=Dataset.from_list(rows),
        processing_class=PreTrainedTokenizerFast.from_pretrained(folder),
        peft_config=peft,
    )
    trainer.train()
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokens", "given"),
    [
        (100, {}),
        (100, {"gradient_accumulation_steps": 3}),
        (4096, {"gradient_accumulation_steps": 2}),
        (1, {}),
        (100, {"gradient_checkpointing": True}),
        (100, {"peft": LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)}),
    ],
    ids=["one batch", "three batches", "one pass for all", "a row a pass", "recomputed", "adapters"],
)
def test_gradients_and_figures_are_those_of_the_padded_form(model: Path, tokens: int, given: dict[str, Any]) -> None:
    torch.manual_seed(0)
    padded = train(model, None, **given)
    torch.manual_seed(0)
    packed = train(model, Packing(tokens), **given)
    assert len(padded.gradients) == len(packed.gradients) == 3
    for one, other in zip(padded.gradients, packed.gradients, strict=True):
        assert one.norm() > 0.01
        assert float((one - other).norm() / one.norm()) < 1e-5
    figures = ("loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens", "learning_rate", "epoch")
    for row, again in zip(padded.state.log_history[:3], packed.state.log_history[:3], strict=True):
        assert {name: again[name] for name in figures} == pytest.approx({name: row[name] for name in figures}, rel=1e-4)
    assert all(rows == 1 or rows * length <= tokens for rows, length in packed.shapes)
    if tokens == 1:
        assert len(packed.shapes) == 24
    if tokens == 4096:
        assert len(packed.shapes) < 24


@pytest.mark.slow
@pytest.mark.parametrize(
    "given", [{"loss_type": "dft"}, {"label_smoothing_factor": 0.1}, {"packing": True, "padding_free": False}]
)
def test_a_loss_that_is_more_than_the_likelihood_is_refused_and_not_changed(model: Path, given: dict[str, Any]) -> None:
    name = next(iter(given))
    with pytest.raises(StageError, match=rf"with sft\.trl\.{name} TRL's own batches"):
        train(model, Packing(100), **given)


def test_rows_are_without_padding_and_their_labels_one_completion() -> None:
    ids = torch.tensor([[5, 6, 7, 8, 1], [5, 6, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    labels = torch.tensor([[-100, -100, 7, 8, -100], [-100, 6, -100, -100, -100]])
    slot = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    rows = Rows.labelled([slot, slot])
    assert [row.tolist() for row in rows.ids] == [[5, 6, 7, 8], [5, 6]] * 2
    assert (rows.prompts, rows.completions) == ([2, 1] * 2, [2, 1] * 2)
    assert rows.places == [(0, 0), (0, 1), (1, 0), (1, 1)]
    empty = Rows.labelled([slot | {"labels": torch.full_like(ids, -100)}])
    assert empty.completions == [0, 0], "a row without a label is not trained on"
    for wrong in ([[-100, 6, -100, 8, -100]], [[5, 6, 7, 8, -100]], [[-100, 6, 7, -100, -100]]):
        with pytest.raises(ValueError, match="not one completion behind a prompt"):
            Rows.labelled([{"input_ids": ids[:1], "attention_mask": mask[:1], "labels": torch.tensor(wrong)}])


def test_the_budget_of_tokens_is_as_said_or_what_the_batch_has() -> None:
    def budget(*words: str, cpu: bool = True) -> int | None:
        return sft_microbatch_tokens(compose_recipe(["recipe=quickstart", *words]), 50, cpu=cpu)

    assert budget() is None
    assert budget("sft.tokens_per_microbatch=300") == 300
    assert budget("sft.tokens_per_microbatch=auto", "sft.per_device_batch_size=8") == 400
    assert budget("sft.tokens_per_microbatch=auto", "sft.per_device_batch_size=1000") == 2048
    assert budget("sft.tokens_per_microbatch=auto", "sft.per_device_batch_size=1000", cpu=False) == 16384


def test_switched_off_no_stage_has_another_name(tmp_path: Path) -> None:
    words = ["recipe=quickstart", "launcher.device=cpu", "~arms", "stages=[sft]", f"run.root={tmp_path}"]
    (off,), (on,) = (plan_run([*words, *more]).graph.stages for more in ([], ["sft.tokens_per_microbatch=auto"]))
    assert off != on


@pytest.mark.parametrize("field", ["label_smoothing_factor", "packing", "padding_free", "router_aux_loss_coef"])
def test_a_loss_that_packed_updates_lack_is_refused_while_planning(tmp_path: Path, field: str) -> None:
    words = ["recipe=quickstart", "~arms", "stages=[sft]", f"run.root={tmp_path}", f"+sft.trl.{field}=1"]
    with pytest.raises(ConfigError, match=f"sft.tokens_per_microbatch: with sft.trl.{field} TRL's own"):
        plan_run([*words, "sft.tokens_per_microbatch=auto"])
    assert plan_run(words)
    assert plan_run([*words[:-1], f"+sft.trl.{field}=0", "sft.tokens_per_microbatch=auto"])


@pytest.mark.slow
def test_a_packed_stage_learns_as_a_padded_one_and_stopped_at_every_step_ends_the_same(tmp_path: Path) -> None:
    words = [
        "stages=[sft]", "sft.max_steps=4", "sft.learning_rate=1e-4", "sft.gradient_accumulation=2",
        "sft.tokens_per_microbatch=512", "preflight=true",
    ]  # fmt: skip
    one, other = (prepare(tmp_path / name, *words) for name in ("whole", "steps"))
    whole(one)
    assert step_by_step(other) == [1, 2, 3]
    assert differences(one, other) == []
    padded = prepare(tmp_path / "padded", *[word for word in words if "tokens_per" not in word])
    whole(padded)
    for row, again in zip(logged(padded), logged(one), strict=True):
        assert again.get("loss", 0.0) == pytest.approx(row.get("loss", 0.0), rel=1e-3)
        assert again.get("mean_token_accuracy", 0.0) == pytest.approx(row.get("mean_token_accuracy", 0.0), abs=5e-3)
