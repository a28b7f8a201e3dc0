"""GRPO with a judge whose server dies in the middle of a run, and comes back: nothing is learned from the silence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from judge_server import Reply, ScriptedServer
from safetensors.torch import load_file
from tiny_run import ONE_ARM, REPOSITORY, adhere, command, stage

pytestmark = pytest.mark.slow

STEPS = 4


class Mortal:
    """Grades by the response alone; from the ``dies_at``-th request on it answers 503, and lives again after ``probes``
    probes have met that."""

    def __init__(self) -> None:
        self.asked, self.dies_at, self.probes = 0, sys.maxsize, sys.maxsize

    def __call__(self, message: str, body: dict[str, object]) -> Reply:
        self.asked += 1
        response = re.search(r"(?s)<<<RESPONSE \w+>>>\n(.*)\n<<<END RESPONSE", message)
        if self.asked >= self.dies_at:
            self.probes -= response is None
            if self.probes == 0:
                self.dies_at = self.probes = sys.maxsize
            return 503, {}, b"the model is gone"
        return str(len(response[1]) % 101) if response else "0"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(Mortal()) as running:
        yield running


def overrides(server: ScriptedServer, patience: float) -> list[str]:
    judge = (
        f"{{base_url: '{server.url}', model: m, patience: {patience}, retries: 1, backoff: 0.05, concurrency: 4, "
        f"timeout: 5}}"
    )
    return [
        *ONE_ARM, "stages=[grpo]", f"grpo.max_steps={STEPS}", "grpo.save_steps=100", "grpo.learning_rate=1e-3",
        f"+rewards.components.rating={{kind: judge, weight: 0.5, judge: {judge}}}",
    ]  # fmt: skip


def rows(root: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (stage(root, "grpo") / "metrics.jsonl").read_text().splitlines()]


def test_a_dead_judge_pauses_then_stops_and_the_same_command_goes_on_as_if_nothing_had_been(
    server: ScriptedServer, tmp_path: Path
) -> None:
    mortal = server.script
    assert isinstance(mortal, Mortal)
    whole = adhere(tmp_path / "whole", *overrides(server, 60))
    logged = rows(tmp_path / "whole")
    assert len([row for row in logged if "judge/calls" in row]) == STEPS
    assert all(row["judge/prompt_tokens"] == 100 * row["judge/calls"] for row in logged if "judge/calls" in row)
    assert "pauses" not in whole.stderr

    mortal.dies_at = mortal.asked + 2 * mortal.asked // STEPS + 1
    root, given = tmp_path / "broken", overrides(server, 1)
    stopped = subprocess.run(command(root, *given), cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert stopped.returncode != 0
    assert "training pauses for up to 1 s: the judge does not answer" in stopped.stderr
    last = stopped.stderr.splitlines()[-2]
    assert "the judge did not answer for 1 s (judge.patience); step " in last and "503 the model is gone" in last
    kept = int(re.search(r"step (\d+) is kept", last)[1])
    assert 0 < kept < STEPS
    folder = stage(root, "grpo")
    assert (folder / "checkpoints" / f"checkpoint-{kept}" / "COMPLETE").exists()
    assert not (folder / "DONE").exists()
    assert [row["step"] for row in rows(root)] == list(range(1, kept + 1))

    # The batch asks once whether the server is there, the pause a second time: only then does it live again.
    mortal.dies_at, mortal.probes = mortal.asked + 3, 2
    resumed = adhere(root, *overrides(server, 120))
    assert "training pauses for up to 120 s" in resumed.stderr
    assert "the judge answers again; training goes on" in resumed.stderr
    assert [row["step"] for row in rows(root) if "judge/calls" in row] == list(range(1, STEPS + 1))
    a, b = (load_file(stage(r, "grpo") / "model" / "model.safetensors") for r in (tmp_path / "whole", root))
    start = load_file(REPOSITORY / "recipes" / "assets" / "tiny_base" / "model.safetensors")
    assert any(not torch.equal(a[name], start[name]) for name in start), "nothing was learned, so nothing was compared"
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_dead_http_reward_pauses_then_stops_like_a_judge(tmp_path: Path) -> None:
    detail = "{kind: http, url: 'http://127.0.0.1:1/score', weight: 0.5, retries: 0, patience: 1}"
    given = [*ONE_ARM, "stages=[grpo]", f"grpo.max_steps={STEPS}", f"+rewards.components.detail={detail}"]
    stopped = subprocess.run(command(tmp_path, *given), cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert stopped.returncode != 0
    what = "the endpoint of rewards.components.detail"
    assert f"training pauses for up to 1 s: {what} does not answer (http://127.0.0.1:1/score: Connect" in stopped.stderr
    assert f"{what} did not answer for 1 s (rewards.components.detail.patience); nothing was trained" in stopped.stderr
    assert "name another rewards.components.detail.url" in stopped.stderr.replace("\n", " ")
    assert not (stage(tmp_path, "grpo") / "DONE").exists()
