"""vLLM itself, where it is installed: in the ranks, and as a server that is given new weights after each step.

`docs/generation.md` says how to install the build for CPUs, and the command that runs this file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from tiny_run import ONE_ARM, REPOSITORY, adhere, command, stage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM"),
]
COLOCATE = "grpo.generation=vllm_colocate"
SERVED = [
    *ONE_ARM, "grpo.generation=vllm_server", "stages=[sft,grpo]", "launcher.device=auto", "sft.max_steps=60",
    "sft.per_device_batch_size=16", "grpo.max_steps=4", "grpo.save_steps=1", "grpo.learning_rate=1e-3",
    "rewards.components.format.weight=1", "grpo.vllm.gpu_memory_utilization=0.1",
]  # fmt: skip


@pytest.fixture
def model_of_heads_that_vllm_knows(tmp_path: Path) -> Path:
    """An untrained model with the tiny base's tokenizer: vLLM's CPU kernels have no attention for heads of 40."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path / "model"
    tokenizer = AutoTokenizer.from_pretrained(REPOSITORY / "recipes" / "assets" / "tiny_base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        head_dim=64, max_position_embeddings=512, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_colocated_vllm_draws_by_the_seed(tmp_path: Path, model_of_heads_that_vllm_knows: Path) -> None:
    drawn = []
    for folder, seed in (("once", 0), ("once", 1), ("again", 0)):
        adhere(
            tmp_path / folder, *ONE_ARM, COLOCATE, f"model.path={model_of_heads_that_vllm_knows}", "stages=[sft,grpo]",
            "sft.max_steps=60", "sft.per_device_batch_size=16", "grpo.max_steps=2", f"grpo.seed={seed}",
            f"run.name=seed_{seed}",
        )  # fmt: skip
        files = sorted((tmp_path / folder / f"seed_{seed}/stages/grpo/rollouts").glob("*.parquet"))
        drawn.append([row["response"] for file in files for row in pq.read_table(file).to_pylist()])
    first, other, again = drawn
    assert first == again and first != other
    assert len(set(first)) > len(first) // 4, "completions of a group have seeds of their own"


def beside_a_server() -> dict[str, str]:
    """Two GPUs are named, as there is a rank and a server: a build of vLLM and torch for the CPU uses neither."""
    folders = [str(REPOSITORY / "tests" / "support" / "on_cpu"), os.environ.get("PYTHONPATH")]
    return os.environ | {"CUDA_VISIBLE_DEVICES": "0,1", "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def served(root: Path, model: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root, *SERVED, f"model.path={model}", *overrides), cwd=REPOSITORY, env=beside_a_server(),
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


def test_a_server_writes_rollouts_with_the_weights_of_each_step(
    tmp_path: Path, model_of_heads_that_vllm_knows: Path
) -> None:
    done = served(tmp_path, model_of_heads_that_vllm_knows)
    assert done.returncode == 0, done.stdout + done.stderr
    grpo = stage(tmp_path, "grpo")
    rows = [json.loads(line) for line in (grpo / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "loss" in row]
    assert any(row["grad_norm"] > 0 for row in steps[:-1]), "the weights never changed, so that no transfer mattered"
    assert max(row["sampling/sampling_logp_difference/max"] for row in steps) < 1e-3
    assert not (grpo / "servers.json").exists()
    assert "POST /update_weights" in next((grpo / "logs").glob("server_vllm_*.log")).read_text()


def test_a_server_that_dies_ends_the_stage_which_then_goes_on(
    tmp_path: Path, model_of_heads_that_vllm_knows: Path
) -> None:
    line = command(tmp_path, *SERVED, f"model.path={model_of_heads_that_vllm_knows}")
    process = subprocess.Popen(
        line, cwd=REPOSITORY, env=beside_a_server(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not any(tmp_path.glob("artifacts/grpo-*/checkpoints/checkpoint-*/COMPLETE")):
        assert process.poll() is None, "the stage ended before its server was killed"
        time.sleep(0.1)
    everything = psutil.Process(process.pid).children(recursive=True)
    for one in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            if "EngineCore" in one.name() or "VLLM" in one.name():
                one.kill()
    killed = time.monotonic()
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait() != 0 and "the server of grpo.vllm" in said
    assert time.monotonic() - killed < 60
    assert not any(psutil.pid_exists(one.pid) and one.status() != psutil.STATUS_ZOMBIE for one in everything)
    done = served(tmp_path, model_of_heads_that_vllm_knows)
    assert done.returncode == 0, done.stdout + done.stderr
