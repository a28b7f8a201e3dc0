"""How ranks share a model: real processes over gloo agree with each other, and what cannot work is refused.

The strategies train the tiny model by the public command, SFT then GRPO. DDP is the reference for the others: on the
same two ranks they see the same batches and draw the same rollouts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from tiny_run import ONE_ARM, REPOSITORY, command, stage

from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe

TWO = [
    *ONE_ARM, "sft.max_steps=3", "sft.per_device_batch_size=4", "sft.learning_rate=1e-4",
    "grpo.max_steps=2", "grpo.per_device_batch_size=4", "grpo.learning_rate=1e-3",
    "rewards.components.checklist.gate=null", "stages=[sft,grpo]",
]  # fmt: skip
ON_TWO = ["launcher.processes=2", "launcher.device=cpu"]
BEST = ["grpo.save_steps=1", "grpo.hand_over=best"]
CHECKED = [*BEST, "preflight=true"]
EVALUATED = ["stages=[sft,grpo,{evaluate:{of:[grpo]}}]"]
SHARDED = ["zero2", "zero3", "fsdp2"]


def run(root: Path, *overrides: str, patched: bool = False) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    if patched:
        folders = [str(REPOSITORY / "tests" / "support" / "on_cpu"), environment.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    return subprocess.run(
        command(root, *TWO, *overrides), cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=560,
        check=False,
    )  # fmt: skip


def trained(root: Path, strategy: str, *overrides: str) -> Path:
    sharded = strategy == "fsdp2"
    device = "launcher.device=auto" if sharded else "launcher.device=cpu"
    done = run(root, f"strategy={strategy}", "launcher.processes=2", device, *overrides, patched=sharded)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def kill_after_a_checkpoint(process: subprocess.Popen[bytes], root: Path) -> None:
    """Kill the driver and everything it started, as a power cut does, once a first checkpoint is whole."""
    while not any(root.glob("artifacts/*/checkpoints/checkpoint-*/COMPLETE")):
        assert process.poll() is None, "the stage ended before it was killed"
        time.sleep(0.01)
    everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def losses(root: Path, label: str, figure: str = "loss") -> list[float]:
    rows = [json.loads(line) for line in (stage(root, label) / "metrics.jsonl").read_text().splitlines()]
    return [row[figure] for row in rows if "loss" in row]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("ddp"), "ddp", *BEST)


@pytest.fixture(scope="module")
def zero3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("zero3"), "zero3", *EVALUATED, *CHECKED)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("strategy", SHARDED)
def test_sharded_ranks_train_what_whole_ones_do(
    strategy: str, reference: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """They make preflight's step too, which leaves nothing behind, and hand over what their best checkpoint holds."""
    root = request.getfixturevalue("zero3") if strategy == "zero3" else trained(tmp_path, strategy, *CHECKED)
    assert losses(root, "sft") == pytest.approx(losses(reference, "sft"), abs=1e-5)
    assert losses(root, "grpo") == pytest.approx(losses(reference, "grpo"), abs=1e-5)
    norms = losses(reference, "grpo", "grad_norm")
    assert any(norm > 0 for norm in norms), "GRPO had no gradient, so nothing was compared"
    assert losses(root, "grpo", "grad_norm") == pytest.approx(norms, rel=1e-3)
    best = json.loads((stage(root, "grpo") / "manifest.json").read_text())["best"]
    assert best["step"] == 1, "the last checkpoint is the best one, so that none was loaded"
    for label in ("sft", "grpo"):
        whole = load_file(stage(reference, label) / "model" / "model.safetensors")
        ours = load_file(stage(root, label) / "model" / "model.safetensors")
        # ZeRO-2 also writes the head that is tied to the embedding; it has to be the same then.
        tied = ours.pop("lm_head.weight", ours["model.embed_tokens.weight"])
        assert tied.equal(ours["model.embed_tokens.weight"])
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in whole.items()}
        assert max(float((ours[k] - whole[k]).abs().max()) for k in whole) < 1e-4


@pytest.mark.slow
@pytest.mark.long
def test_zero3_killed_after_a_checkpoint_goes_on_to_the_same_weights(zero3: Path, tmp_path: Path) -> None:
    assert json.loads((stage(zero3, "evaluate-grpo") / "manifest.json").read_text())["items"] == 8
    line = command(tmp_path, *TWO, *ON_TWO, "strategy=zero3", "stages=[sft]", "sft.save_steps=1")
    process = subprocess.Popen(line, cwd=REPOSITORY, start_new_session=True, stdout=subprocess.DEVNULL)
    kill_after_a_checkpoint(process, tmp_path)
    assert not (stage(tmp_path, "sft") / "DONE").exists()
    other = run(tmp_path, *ON_TWO, "strategy=ddp", "stages=[sft]", "sft.save_steps=1")
    assert other.returncode != 0 and "was written under zero3, and this run trains under ddp" in other.stderr
    again = run(tmp_path, *ON_TWO, "strategy=zero3", "stages=[sft]", "sft.save_steps=1")
    assert again.returncode == 0, again.stdout + again.stderr
    whole, ours = (load_file(stage(root, "sft") / "model" / "model.safetensors") for root in (zero3, tmp_path))
    assert all(ours[name].equal(weights) for name, weights in whole.items())


def check_adapters(one: Path, other: Path, label: str) -> None:
    assert losses(one, label) == pytest.approx(losses(other, label), abs=1e-5)
    files = [stage(root, label) / "model" / "adapter_model.safetensors" for root in (one, other)]
    first, second = (load_file(file) for file in files)
    assert first.keys() == second.keys()
    apart = torch.cat([(first[k].float() - second[k].float()).abs().flatten() for k in first])
    # Adapters of a 4-bit base are bfloat16: Adam's step of a weight without a clear gradient has either sign.
    four_bits = first.popitem()[1].dtype is torch.bfloat16
    assert float(apart.mean() if four_bits else apart.max()) < 1e-4


@pytest.mark.slow
@pytest.mark.long
def test_adapters_are_handed_on_alike_under_ddp_and_zero3(tmp_path: Path) -> None:
    """The DDP run also makes preflight's step: that all else agrees shows that it left nothing behind."""
    small = ["model.adapter.kind=lora", "sft.max_steps=2"]
    whole = trained(tmp_path / "ddp", "ddp", *small, "preflight=true")
    sharded = trained(tmp_path / "zero3", "zero3", *small)
    assert any(norm > 0 for norm in losses(whole, "grpo", "grad_norm"))
    for label in ("sft", "grpo"):
        check_adapters(sharded, whole, label)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes: adhere[qlora]")
def test_a_four_bit_base_may_be_sharded(tmp_path: Path) -> None:
    small = ["model.adapter.kind=qlora", "stages=[grpo]"]
    whole = trained(tmp_path / "ddp", "ddp", *small)
    assert any(norm > 0 for norm in losses(whole, "grpo", "grad_norm"))
    for strategy in ("zero2", "zero3", "fsdp2"):
        check_adapters(trained(tmp_path / strategy, strategy, *small), whole, "grpo")


@pytest.mark.slow
@pytest.mark.long
def test_a_silent_fall_back_to_whole_models_stops_the_stage(tmp_path: Path) -> None:
    done = run(tmp_path, "strategy=fsdp2", "launcher.processes=2", "launcher.device=auto", "stages=[sft]")
    assert done.returncode != 0
    assert "the plan promised strategy 'fsdp2', but the trainer shares the model by 'ddp'" in done.stderr


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["launcher.offload=true"], "launcher.offload: single keeps everything on its GPU"),
        (["strategy=fsdp2", "launcher.device=cpu"], "accelerate runs DDP where fsdp2 is asked for on a CPU"),
        (["strategy=fsdp2", "launcher.processes=1"], "fsdp2 shards over ranks"),
        (["launcher.nodes=2"], "launcher.nodes: 2 machines have at least a rank each"),
        (["strategy=ddp", "launcher.nodes=2", "launcher.processes=3"], "3 ranks cannot be divided among 2"),
        (["launcher.device=cpu", "model.dtype=float16"], "float16 needs a GPU"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_recipe(["recipe=quickstart", *overrides, "grpo.group_size=2"])
    assert said in str(caught.value)


WORLD = """
import sys
from pathlib import Path
from adhere.train.config.compose import compose_recipe
from adhere.train.config.stage import StageSpec
from adhere.train.stages.setup import check_world
recipe = compose_recipe(["recipe=quickstart", "launcher.device=cpu", "strategy=ddp", "launcher.processes=2"])
check_world(StageSpec(kind="sft", label="sft", key="0", artifact=Path("."), inputs={}, recipe=recipe))
"""


@pytest.mark.slow
def test_a_lone_copy_says_that_the_plan_promised_more_ranks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--cpu", "--num_machines", "2",
         "--num_processes", "2", "--machine_rank", "0", "--main_process_ip", "127.0.0.1", "--main_process_port",
         "29517", "--no_python", sys.executable, "-c", WORLD],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "the plan promised 2 ranks, but this is rank 0 of 1" in done.stderr


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("strategy", ["ddp", *SHARDED])
def test_ranks_measure_the_policy_together_and_train_on_as_if_they_had_not(
    tmp_path: Path, reference: Path, strategy: str
) -> None:
    if strategy.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed")
    measured = [f"{kind}.held_out.{key}" for kind in ("sft", "grpo") for key in ("every=1", "items=5")]
    root = trained(tmp_path, strategy, *BEST[:1], *measured)
    for label, steps in (("sft", 3), ("grpo", 2)):
        rows = [json.loads(line) for line in (stage(root, label) / "held_out.jsonl").read_text().splitlines()]
        assert [(row["step"], row["prompts"]) for row in rows] == [(step, 5) for step in range(steps + 1)]
        assert all(row["tokens"] > 0 and row["entropy"] > 0.0 and 0.0 <= row["hacc"] <= 1.0 for row in rows)
    if strategy == "ddp":
        assert losses(root, "grpo") == losses(reference, "grpo")
