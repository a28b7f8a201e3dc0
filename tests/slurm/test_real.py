"""What a user of a real Slurm sees: chains over two nodes, preemption, crashes, cancelled jobs, failed stages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Site, workers_of
from tiny_run import REPOSITORY

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(2000)]

TWO_NODES = ["strategy=ddp", "launcher.nodes=2", "launcher.processes=2"]
LONG_SFT = ["stages=[sft]", "sft.max_steps=60", "sft.save_steps=5"]


def checksum(artifact: Path) -> str:
    return hashlib.sha256((artifact / "model" / "model.safetensors").read_bytes()).hexdigest()


def steps(artifact: Path) -> int:
    file = artifact / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def saved(artifact: Path) -> bool:
    return any(artifact.glob("checkpoints/*/COMPLETE"))


def test_a_chain_over_two_nodes_runs_the_code_of_its_submission(site: Site, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    rooms = ("train", "evaluation", "records", "prompts", "rewards", "recipes", "slurm")
    for folder in ("adhere", *rooms, "hydra_plugins"):
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / folder, checkout / folder, symlinks=True, ignore=left_out)
    chain = [*TWO_NODES, "stages=[sft,grpo,{evaluate:{of:[grpo]}}]", "grpo.max_steps=2"]
    said = site.submit("chain", *chain, place=checkout)
    assert [line.split()[1] for line in said.splitlines() if "submitted  " in line] == [
        "sft", "grpo", "evaluate[grpo]", "comparison"
    ]  # fmt: skip
    for module in ("worker.py", "run/finish.py"):
        (checkout / "train" / module).write_text("raise SystemExit('edited after submitting')\n")
    waits = site.status("chain")
    assert "after sft" in waits and "0 of 3 stages done" in waits
    again = site.submit("chain", *chain)
    assert again.count("submitted before") == 4 and "submitted  sft" not in again, (
        "three stages, and the job that ends the run"
    )
    started = time.monotonic()
    site.status("chain")
    assert time.monotonic() - started < 20
    site.cluster.wait(site.cluster.idle)
    assert "3 of 3 stages done" in site.status("chain"), site.output("chain")
    grpo = site.stage("chain", "grpo")
    assert '"ranks": 2' in (grpo / "manifest.json").read_text()
    assert {p.name for p in (grpo / "logs").iterdir()} == {"attempt_0.node0.log", "attempt_0.node1.log"}
    assert (site.shared / "chain/latest/results.md").exists() and (grpo / "model" / "README.md").exists()
    assert "attempt 0, job" in site.adhere("logs", str(site.shared / "chain/latest"), "grpo")
    assert "nothing to do" in site.submit("chain", *chain)


def test_a_reward_in_python_is_the_one_of_the_submission(site: Site, tmp_path: Path) -> None:
    reward = tmp_path / "my_lab" / "rewards.py"
    reward.parent.mkdir()
    reward.write_text("def constant(rollouts):\n    return [0.25 for _ in rollouts]\n")
    component = "+rewards.components.mine={kind: python, function: 'my_lab.rewards:constant', weight: 0}"
    run = ["stages=[sft,grpo]", "grpo.max_steps=1", component]
    site.adhere("train", *site.overrides("python", *run), folder=tmp_path)
    reward.write_text("raise SystemExit('edited after submitting')\n")
    site.cluster.wait(site.cluster.idle)
    assert "2 of 2 stages done" in site.status("python"), site.output("python")
    (file,) = site.stage("python", "grpo").glob("rollouts/*.parquet")
    assert set(pq.read_table(file)["mine_score"].to_pylist()) == {0.25}


def test_a_graph_with_a_merge_waits_for_all_its_inputs(site: Site) -> None:
    graph = (
        "stages={sft: {}, one: {kind: grpo, from: sft}, "
        "two: {kind: grpo, from: sft, with: ['grpo.learning_rate=1e-3']}, "
        "both: {kind: merge, from: sft, inputs: {models: [one, two]}}, again: {kind: grpo, from: both}, "
        "evaluate: {of: [both, again]}}"
    )
    said = site.submit("graph", graph, "grpo.max_steps=1")
    assert "submitted  sft " in said and said.count("grpo x 2") == 1 and "submitted  both " in said
    site.cluster.wait(site.cluster.idle)
    assert "7 of 7 stages done" in site.status("graph"), site.output("graph")
    assert (site.shared / "graph/latest/results.md").exists()


def test_preempted_and_killed_and_still_the_same_weights(site: Site) -> None:
    site.submit("undisturbed", *LONG_SFT)
    site.submit("disturbed", *LONG_SFT)
    sft = site.stage("disturbed", "sft")
    site.cluster.wait(lambda: steps(sft) >= 2)
    urgent = site.cluster.run("sbatch", "--parsable", "-p", "urgent", "-N2", "--exclusive", "--wrap=sleep 1").strip()
    site.cluster.wait(lambda: "stopped with a checkpoint at step" in site.output("disturbed"))
    site.cluster.wait(lambda: site.cluster.queue()[urgent][0] == "COMPLETED")
    site.cluster.wait(lambda: bool(workers_of(sft)) and (sft / "logs" / "attempt_1.log").exists() and saved(sft))
    before = steps(sft)
    site.cluster.wait(lambda: steps(sft) != before)
    for rank in workers_of(sft):
        os.kill(rank, signal.SIGKILL)
    site.cluster.wait(site.cluster.idle)
    said = site.output("disturbed")
    assert "told to stop" in said and "without a newer checkpoint" in said, said
    assert {p.name for p in (sft / "logs").iterdir()} == {f"attempt_{i}.log" for i in range(3)}
    assert checksum(sft) == checksum(site.stage("undisturbed", "sft"))


def test_a_killed_rank_ends_the_step_on_all_nodes_and_cancel_takes_what_waits(site: Site) -> None:
    site.submit("killed", *TWO_NODES, "sft.max_steps=400", "sft.save_steps=200", "stages=[sft,grpo]")
    sft = site.stage("killed", "sft")
    site.cluster.wait(lambda: steps(sft) >= 1)
    ranks = workers_of(sft)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    site.cluster.wait(lambda: not workers_of(sft))
    site.cluster.wait(lambda: "a rank was killed (SIGKILL); requeued (1 of 3" in site.output("killed"))
    said = site.adhere("cancel", str(site.shared / "killed/latest"))
    assert said.count("cancelled  ") == 3
    site.cluster.wait(site.cluster.idle)
    said = site.status("killed", code=1)
    assert "cancelled sft" in said and "because sft was cancelled" in said


def test_scancel_of_a_running_stage_is_not_requeued(site: Site) -> None:
    site.submit("scancel", "stages=[sft]", "sft.max_steps=2000")
    sft = site.stage("scancel", "sft")
    site.cluster.wait(lambda: steps(sft) >= 1)
    job = next(name for name, (state, _) in site.cluster.queue().items() if state == "RUNNING")
    site.cluster.run("scancel", job)
    site.cluster.wait(site.cluster.idle)
    assert "cancelled sft" in site.status("scancel", code=1)


def test_before_the_time_limit_a_checkpoint_is_written_and_the_job_is_requeued(site: Site) -> None:
    site.submit("limit", "stages=[sft]", "sft.max_steps=4000", "launcher.slurm.notice_seconds=45", time="00:01:00")
    sft = site.stage("limit", "sft")
    site.cluster.wait(lambda: "requeued" in site.output("limit"))
    assert "stopped with a checkpoint at step" in site.output("limit")
    assert saved(sft)
    site.adhere("cancel", str(site.shared / "limit/latest"))
    site.cluster.wait(site.cluster.idle)


def test_a_failed_stage_cancels_what_waits_for_it_and_says_why(site: Site) -> None:
    site.submit("failed", "sft.max_length=8")
    site.cluster.wait(site.cluster.idle)
    said = site.status("failed", code=1)
    assert "failed    sft" in said and "sft.max_length" in said
    assert "because sft failed: " in next(line for line in said.splitlines() if " grpo " in line)
    assert not site.stage("failed", "grpo").joinpath("logs").exists()
    assert "without results" in (next((site.shared / "failed/latest/slurm").glob("finish*.out"))).read_text()


def test_an_ablation_of_three_points_and_two_seeds_runs_sft_once(site: Site) -> None:
    points = ["weights=[{checklist: 0},{checklist: 0.5},{checklist: 1}]", "seeds=[0,1]", "grpo.max_steps=1"]
    said = site.adhere("ablate", *site.overrides("ablation", *points, "stages=[sft,grpo]", "launcher.slurm.throttle=4"))
    assert "submitted  sft " in said and "grpo x 6" in said
    site.cluster.wait(site.cluster.idle, seconds=500.0)
    assert "7 of 7 stages done" in site.status("ablation"), site.output("ablation")
    assert len(list((site.shared / "ablation/artifacts").glob("sft-*"))) == 1
    course = json.loads((site.shared / "ablation/latest/arms.json").read_text())
    assert len(course["points"]) == 6 and course["rungs"] == [] and not course["failed"]
    assert course["seconds"]["alone"] > course["seconds"]["shared"] > 0.0


def test_a_sweep_is_one_run_whose_points_are_arrays(site: Site) -> None:
    sweep = ["stages=[sft,grpo]", "seed=0,1", "rewards.components.checklist.weight=0,0.5,1"]
    said = site.adhere("train", "-m", "hydra/launcher=adhere_slurm", *site.overrides("sweep", *sweep))
    assert "sft x 2" in said and said.count("grpo x 3") == 2
    site.adhere("cancel", str(site.shared / "sweep/latest"))
    site.cluster.wait(site.cluster.idle)


def test_a_judge_on_a_node_of_its_own_starts_before_the_ranks_and_ends_with_them(site: Site, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    serve = "serve: {command: transformers, gpus: 1, start_seconds: 250, options: [--dtype, float32]}"
    judge = f"{{model: {REPOSITORY / 'recipes/assets/tiny_base'}, {serve}, max_tokens: 4, timeout: 100, deadline: 250}}"
    judged = [f"+rewards.components.taste={{kind: judge, weight: 0, judge: {judge}}}", "grpo.max_steps=1"]
    ranks = ["strategy=ddp", "launcher.processes=2", "launcher.device=auto"]
    site.submit("judged", "stages=[grpo]", *ranks, *judged, gpus_per_node=2, setup=[f"export HF_HUB_CACHE={hub}"])
    site.cluster.wait(site.cluster.idle)
    assert "1 of 1 stages done" in site.status("judged"), site.output("judged")
    grpo = site.stage("judged", "grpo")
    (rollouts,) = (pq.read_table(path) for path in grpo.glob("rollouts/*.parquet"))
    assert set(rollouts["taste_status"].to_pylist()) <= {"ok", "unparsed"}
    assert not (grpo / "servers.json").exists()


def test_a_rejected_job_is_told_in_slurms_words_and_a_node_without_its_gpus_in_ours(site: Site) -> None:
    said = site.submit("rejected", "stages=[sft]", code=1, partition="nosuch")
    assert "Slurm rejects " in said and "invalid partition specified: nosuch" in said
    two = ["strategy=ddp", "launcher.processes=2", "launcher.device=auto"]
    site.submit("gpus", "stages=[sft]", *two, gpus_per_node=2, setup=["export CUDA_VISIBLE_DEVICES=0"])
    site.cluster.wait(site.cluster.idle)
    said = site.status("gpus", code=1)
    assert "sees 1 GPUs (CUDA_VISIBLE_DEVICES='0'), the job needs 2" in said
