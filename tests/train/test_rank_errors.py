"""Two real ranks over gloo: one's scoring raises, and both end with the reason, at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys
from accelerate import PartialState
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.functions import RewardFunctions
from adhere.train.stages.trainer import raise_on_all_ranks

PartialState(cpu=True)
rank = int(os.environ["RANK"])
with Engine() as engine:
    rewards = RewardFunctions(Composite(RewardConfig(), engine))
    damaged = "[{}]" if rank == 1 else None
    batch = {"prompts": ["2+2?"], "completions": ["\\\\boxed{4}"], "completion_ids": [[1]], "answer": ["4"]}
    raise_on_all_ranks(lambda: rewards.score({**batch, "checklist": [None]}), "scoring")
    print("first batch", rewards.scores.values["math"], flush=True)
    raise_on_all_ranks(lambda: rewards.score({**batch, "completions": ["x"], "checklist": [damaged]}), "scoring")
print("second batch", flush=True)
"""


@pytest.mark.slow
def test_an_error_on_one_rank_ends_all_with_the_reason() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    start = time.monotonic()
    try:
        said = [rank.communicate(timeout=120) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert time.monotonic() - start < 120, "a rank waited for the one that had failed"
    for (out, err), rank in zip(said, ranks, strict=True):
        assert out.splitlines()[0] == "first batch [1.0]", err
        assert "second batch" not in out
        assert rank.returncode != 0
        assert "StageError: scoring failed on 1 of 2 ranks; rank 1: DataError: column 'checklist'" in err
