"""How pending stages are batched, what the files of a job say, and what an attempt's end means. No Slurm needed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from tiny_run import REPOSITORY

from adhere.records.artifact import Artifact
from adhere.rewards.errors import ConfigError, StageError
from adhere.train.cli import main
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import LauncherConfig
from adhere.train.launch.serve.servers import Server, check_servers, packages_of_stage
from adhere.train.launch.slurm.attempt import DONE, FAILED, REQUEUE, begin, end, judge_nodes, why_ending
from adhere.train.launch.slurm.batches import Batch, plan_batches
from adhere.train.launch.slurm.jobfile import finish_file, job_files, write_job_files
from adhere.train.launch.slurm.profile import Profile, check_profile, load_profile, slurm_folder, time_seconds
from adhere.train.launch.slurm.queue import largest_array
from adhere.train.launch.slurm.snapshot import snapshot
from adhere.train.launch.slurm.submit import dependency, packages_of
from adhere.train.run.graph import PlannedStage
from adhere.train.run.run import plan_run

GPU = Profile(
    partition="gpu",
    gpus_per_node=4,
    time="1:00:00",
    shared=Path("/shared"),
    cpus_per_task=64,
    memory="400G",
    account="abc",
    setup=["module load cuda"],
)


RECIPE = compose_recipe(["recipe=quickstart"])
ROOMS = ("train", "evaluation", "records", "prompts", "rewards")


def stage(kind: str, name: str, *after: str) -> PlannedStage:
    return PlannedStage(kind, kind, f"{kind}[{name}]", next(iter(after), None), {}, f"{kind}-{name}", RECIPE)


def batches(
    stages: list[PlannedStage], queued: set[str] | None = None
) -> list[tuple[int, tuple[str, ...], tuple[int, ...]]]:
    found = plan_batches(stages, queued or set(), lambda stage: stage.kind)
    return [(len(batch.stages), batch.after, batch.along) for batch in found]


def test_sixty_arms_are_one_job_an_array_and_an_array_along_it() -> None:
    arms = [str(i) for i in range(60)]
    stages = [stage("sft", "a"), *(stage("grpo", a, "sft-a") for a in arms)]
    stages += [stage("evaluate", a, f"grpo-{a}") for a in arms]
    assert batches(stages) == [(1, (), ()), (60, ("sft-a",), ()), (60, (), (1,))]


def test_two_seeds_are_an_array_and_their_arms_wait_each_for_its_own_seed() -> None:
    stages = [stage("sft", "0"), stage("sft", "1")]
    stages += [stage("grpo", f"{arm}{seed}", f"sft-{seed}") for arm in "abc" for seed in "01"]
    assert batches(stages) == [(2, (), ()), (3, ("sft-0",), ()), (3, ("sft-1",), ())]


def test_done_stages_are_not_waited_for_and_queued_ones_are() -> None:
    stages = [stage("grpo", "a", "sft-done"), stage("grpo", "b", "sft-queued")]
    assert batches(stages, {"sft-queued"}) == [(1, (), ()), (1, ("sft-queued",), ())]


def merge(name: str, *models: str) -> PlannedStage:
    return PlannedStage("merge", "merge", f"merge[{name}]", None, {"models": models}, f"merge-{name}", RECIPE)


def test_a_merge_waits_for_each_of_its_inputs_and_what_follows_for_the_merge() -> None:
    stages = [stage("sft", "a"), stage("grpo", "x", "sft-a"), stage("grpo", "y", "sft-a")]
    stages += [merge("xy", "grpo-x", "grpo-y"), stage("grpo", "again", "merge-xy")]
    found = [(1, (), ()), (2, ("sft-a",), ()), (1, ("grpo-x", "grpo-y"), ()), (1, ("merge-xy",), ())]
    assert batches(stages) == found


def test_merges_of_two_arrays_are_an_array_along_both() -> None:
    arms = [str(i) for i in range(5)]
    stages = [stage("sft", "a"), *(stage("sft", f"x{a}", "sft-a") for a in arms)]
    stages += [stage("grpo", f"y{a}", "sft-a") for a in arms]
    both = [merge(a, f"sft-x{a}", f"grpo-y{a}") for a in arms]
    assert batches([*stages, *both])[3:] == [(5, (), (1, 2))]
    shared = [merge(a, "sft-a", f"sft-x{a}", f"grpo-y{a}") for a in arms]
    assert batches([*stages, *shared])[3:] == [(5, ("sft-a",), (1, 2))]
    crossed = [merge(a, f"sft-x{a}", f"grpo-y{b}") for a, b in zip(arms, reversed(arms), strict=True)]
    assert [batch[0] for batch in batches([*stages, *crossed])[3:]] == [1, 1, 1, 1, 1]


def test_an_array_waits_task_by_task_and_for_what_its_tasks_share() -> None:
    batch = Batch((merge("0"), merge("1")), after=("sft-a",), along=(1, 2))
    line = ["--dependency=aftercorr:8:9,afterok:7", "--kill-on-invalid-dep=yes"]
    assert dependency(batch, {"sft-a": "7"}, ["7", "8", "9"]) == line
    assert dependency(Batch((merge("0"),)), {}, []) == []


GRAPH = """\
# @package _global_
defaults: [quickstart]
stages:
  sft: {}
  maths: {kind: grpo, from: sft, with: [rewards.components.checklist.weight=0]}
  instructions:
    kind: grpo
    from: sft
    with: [rewards.components.math.weight=0, rewards.components.checklist.gate=null]
  both: {kind: merge, from: sft, inputs: {models: [maths, instructions]}, with: ['merge.weights=[0.5, 0.5]']}
  again: {kind: grpo, from: both}
  evaluate: {of: [base, sft, maths, instructions, both, again]}
"""


def test_a_graph_of_two_arms_is_submitted_with_the_shared_stage_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine" / "recipe").mkdir(parents=True)
    (tmp_path / "mine" / "recipe" / "graph.yaml").write_text(GRAPH)
    profile = tmp_path / "mine.yaml"
    profile.write_text(f"partition: gpu\ngpus_per_node: 4\ntime: '4:00:00'\nshared: {tmp_path}\n")
    place = [f"hydra.searchpath=[{tmp_path}/mine]", "recipe=graph", f"run.root={tmp_path}/runs"]
    arms = ["~arms", "+arms={low: ['grpo.learning_rate=1e-4'], high: ['grpo.learning_rate=1e-3']}"]
    assert main(["plan", *place, *arms, "launcher=slurm", f"launcher.slurm.profile={profile}"]) == 0
    said = capsys.readouterr().out
    lines = re.findall(
        r"^  sbatch (?:--dependency=(\S+) --kill-on-invalid-dep=yes )?/\S*/\d+-(\S+)/job", said, flags=re.M
    )
    grpo, both = "<grpo-x4>", ["low", "high"]
    assert {name: waits for waits, name in lines} == {
        "sft": "",
        "grpo-x4": "afterok:<sft>",
        "both-low": f"afterok:<sft>:{grpo}_0:{grpo}_1",
        "both-high": f"afterok:<sft>:{grpo}_2:{grpo}_3",
        "again-low": "afterok:<both[low]>",
        "again-high": "afterok:<both[high]>",
        "evaluate-base": "",
        "evaluate-sft": "afterok:<sft>",
        "evaluate-x4": "aftercorr:<grpo-x4>",
        **{f"evaluate-both,-{arm}": f"afterok:<both[{arm}]>" for arm in both},
        **{f"evaluate-{arm}": f"afterok:<again[{arm}]>" for arm in both},
    }


def job(
    tmp_path: Path,
    kind: str = "grpo",
    count: int = 1,
    profile: Profile = GPU,
    servers: Sequence[Server] = (),
    **launcher: object,
) -> dict[str, str]:
    settings = LauncherConfig.model_validate({"kind": "slurm", **launcher})
    artifacts = [tmp_path / f"artifact-{i}" for i in range(count)]
    folder = tmp_path / "it's a job"
    write_job_files(
        folder, job_files(folder, "run-stage[x]", kind, artifacts, settings, profile, tmp_path / "code", servers)
    )
    return {path.name: path.read_text() for path in (tmp_path / "it's a job").iterdir()}


def options(text: str) -> dict[str, str]:
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, flags=re.M)
    return dict(found)


def test_a_training_job_asks_for_its_gpus_and_its_ranks_meet_on_the_first_node(tmp_path: Path) -> None:
    files = job(tmp_path, count=3, strategy="zero3", nodes=2, processes=8, slurm={"throttle": 2, "notice_seconds": 90})
    asked = options(files["job.sbatch"])
    assert (asked["nodes"], asked["gres"], asked["array"], asked["mem"]) == ("2", "gpu:4", "0-2%2", "400G")
    assert (asked["signal"], asked["open-mode"], asked["requeue"]) == ("B:USR1@90", "append", "")
    assert asked["account"] == "abc" and "qos" not in asked and asked["job-name"] == "run-stage-x"
    node = files["node.sh"]
    assert '--machine_rank "$SLURM_NODEID" --main_process_ip "$HEAD_ADDRESS" --rdzv_backend static' in node
    assert "--num_machines 2" in node and "--num_processes 8" in node and "local wanted=4" in node
    assert "--deepspeed_multinode_launcher standard" in node and "ADHERE_NOTICE_SECONDS=90" in node
    assert files["stages.txt"].splitlines() == [str(tmp_path / f"artifact-{i}") for i in range(3)]


def test_a_python_whose_path_has_a_space_is_looked_for_as_a_whole(tmp_path: Path) -> None:
    mine = GPU.model_copy(update={"python": "/opt/my env/bin/python", "container": None})
    files = job(tmp_path, profile=mine)
    assert "command -v '/opt/my env/bin/python' >/dev/null" in files["node.sh"]
    assert "PYTHON='/opt/my env/bin/python'" in files["job.sbatch"]
    inside = job(tmp_path, profile=mine.model_copy(update={"container": "apptainer exec image.sif"}))
    assert "command -v apptainer >/dev/null" in inside["node.sh"]


def test_an_evaluation_takes_one_gpu_and_its_share_of_the_node(tmp_path: Path) -> None:
    files = job(tmp_path, "evaluate", strategy="ddp", nodes=2, processes=8)
    asked = options(files["job.sbatch"])
    assert (asked["nodes"], asked["gres"], asked["cpus-per-task"], asked["mem"]) == ("1", "gpu:1", "16", "100G")
    assert "-m adhere.train.worker" in files["node.sh"] and "accelerate.commands" not in files["node.sh"]


def server(gpus: int) -> Server:
    return Server("judge_0", ("judge",), "vllm", "some/model", gpus, None, 600.0)


def test_a_server_shares_the_node_of_its_ranks_where_that_has_the_gpus(tmp_path: Path) -> None:
    files = job(tmp_path, strategy="ddp", processes=2, servers=[server(2)])
    asked = options(files["job.sbatch"])
    assert (asked["nodes"], asked["gres"]) == ("1", "gpu:4")
    assert (
        '-m adhere.train.launch.serve.serving around "$ARTIFACT/stage.yaml" -- "$PYTHON" -m accelerate'
        in files["node.sh"]
    )
    assert "SERVER=$!" not in files["job.sbatch"]


@pytest.mark.parametrize("settings", [{"processes": 4}, {"processes": 8, "nodes": 2}])
def test_a_server_that_does_not_fit_has_a_node_of_its_own(tmp_path: Path, settings: dict[str, int]) -> None:
    files = job(tmp_path, strategy="ddp", servers=[server(2)], **settings)
    asked = options(files["job.sbatch"])
    assert (asked["nodes"], asked["gres"]) == (str(settings.get("nodes", 1) + 1), "gpu:4")
    batch = files["job.sbatch"]
    assert f"--nodes={settings.get('nodes', 1)} " in batch and '--exclude="$LAST"' in batch
    assert f"--nodes={settings.get('nodes', 1) + 1} " in batch, "the servers' node is looked at as well"
    assert "SERVER=$!" in batch and "--seconds 600" in batch and "around" not in files["node.sh"]


def test_servers_that_no_node_can_hold_are_refused(tmp_path: Path) -> None:
    job(tmp_path, strategy="ddp", processes=4, servers=[server(4)])
    with pytest.raises(ConfigError, match=r"judge: .*take 5 GPUs where the profile's gpus_per_node is 4"):
        job(tmp_path, strategy="ddp", processes=4, servers=[server(4), server(1)])


def test_zero_on_the_cpu_is_not_accelerates_cpu_mode(tmp_path: Path) -> None:
    cpu = GPU.model_copy(update={"gpus_per_node": 0})
    zero = job(tmp_path, profile=cpu, strategy="zero2", processes=2, device="cpu")["node.sh"]
    assert "DS_ACCELERATOR=cpu" in zero and "ACCELERATE_USE_CPU" not in zero
    ddp = job(tmp_path, profile=cpu, strategy="ddp", processes=2, device="cpu")["node.sh"]
    assert "ACCELERATE_USE_CPU=true" in ddp and "DS_ACCELERATOR" not in ddp


def test_the_environment_of_the_profile_wins_over_ours_and_only_names_are_filled_in(tmp_path: Path) -> None:
    given = {"NCCL_DEBUG": "INFO", "MINE": 'a "b" `c` $(d) $HOME ${USER} \\ e'}
    node = job(tmp_path, profile=GPU.model_copy(update={"environment": given}))["node.sh"]
    assert 'export NCCL_DEBUG="INFO"' in node and "NCCL_DEBUG-WARN" not in node
    assert 'export TRITON_CACHE_DIR="${TRITON_CACHE_DIR-$CACHE/triton}"' in node
    (line,) = re.findall(r"^export MINE=.*$", node, flags=re.M)
    done = subprocess.run(
        ["bash", "-c", f'{line}\nprintf %s "$MINE"'],
        env={"HOME": "/h", "USER": "me"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == 'a "b" `c` $(d) /h me \\ e'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("srun: {nodes: '2'}", "adhere decides nodes; leave it out"),
        ("srun: {--export: NONE}", "adhere decides export; leave it out"),
        ("environment: {'a b': x}", "'a b' is not the name of an environment variable"),
        ("finish: {time: soon}", "finish.time"),
        ("evaluate: {memory: much}", "evaluate.memory"),
        ("evaluate: {gpus: '1'}", "evaluate.gpus: there is no such key"),
    ],
)
def test_a_wrong_part_of_a_profile_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"partition: a\ngpus_per_node: 0\ntime: '1'\nshared: /x\n{line}\n")
    with pytest.raises(ConfigError) as found:
        load_profile(str(path))
    assert words in str(found.value) and "mine.yaml" in str(found.value)


def test_what_jobs_take_by_their_sort(tmp_path: Path) -> None:
    text = "partition: gpu\ngpus_per_node: 4\ntime: '9:00:00'\nshared: /x\nmemory: 400G\nconstraint: a100\n"
    path = tmp_path / "mine.yaml"
    path.write_text(text + "evaluate: {time: '1:00:00', memory: 50G, partition: short}\nfinish: {partition: cpu}\n")
    profile = load_profile(str(path))
    asked = options(job(tmp_path, "evaluate", profile=profile)["job.sbatch"])
    assert (asked["time"], asked["mem"], asked["partition"], asked["gres"]) == ("1:00:00", "50G", "short", "gpu:1")
    slurm = {"evaluation_time": "2:00:00", "evaluation_memory": "60G", "time": "3:00:00"}
    asked = options(job(tmp_path, "evaluate", profile=profile, slurm=slurm)["job.sbatch"])
    assert (asked["time"], asked["mem"]) == ("2:00:00", "60G")
    asked = options(job(tmp_path, "grpo", profile=profile, slurm=slurm)["job.sbatch"])
    assert (asked["time"], asked["mem"], asked["partition"]) == ("3:00:00", "100G", "gpu")
    launcher = LauncherConfig.model_validate(
        {"kind": "slurm", "slurm": {"sbatch": {"gres": "gpu:8", "exclusive": "", "mem": "0", "reservation": "course"}}}
    )
    asked = options(finish_file(tmp_path, tmp_path / "run", launcher, profile, tmp_path / "code"))
    assert (asked["partition"], asked["time"], asked["mem"], asked["reservation"]) == (
        "cpu",
        "00:30:00",
        "4G",
        "course",
    )
    assert not {"gres", "exclusive", "constraint"} & set(asked)


def test_a_grid_larger_than_an_array_may_be_is_several(tmp_path: Path) -> None:
    arms = [str(i) for i in range(7)]
    stages = [stage("sft", "a"), *(stage("grpo", a, "sft-a") for a in arms)]
    stages += [stage("evaluate", a, f"grpo-{a}") for a in arms]
    found = plan_batches(stages, set(), lambda s: s.kind, 3)
    assert [(len(b.stages), b.after, b.along) for b in found] == [
        (1, (), ()), (3, ("sft-a",), ()), (3, ("sft-a",), ()), (1, ("sft-a",), ()), (3, (), (1,)), (3, (), (2,)),
        (1, ("grpo-6",), ()),
    ]  # fmt: skip
    assert [s.key for b in found for s in b.stages] == [s.key for s in stages]


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("MaxArraySize            = 11", 11),
        ("MaxArraySize = 1001\nSchedulerParameters = a,max_array_tasks=9,b", 9),
        ("", None),
    ],
)
def test_what_slurm_says_of_the_size_of_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, most: int | None
) -> None:
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho '{said}'\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert largest_array() == most


def test_another_python_is_not_judged_by_the_packages_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not GPU.elsewhere and not GPU.model_copy(update={"srun": {"cpu-bind": "none"}}).elsewhere
    for change in ({"container": "apptainer exec x"}, {"python": "python3"}, {"srun": {"container-image": "x"}}):
        assert GPU.model_copy(update=change).elsewhere
    recipe = compose_recipe(["recipe=quickstart", "grpo.generation=vllm_server", "strategy=zero2"])
    assert set(packages_of_stage("grpo", recipe)) == {"vllm", "deepspeed"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(ConfigError, match="needs deepspeed, which is not installed"):
        check_servers([("grpo", recipe)])
    check_servers([("grpo", recipe)], elsewhere=True)


@pytest.mark.parametrize("container", [None, "apptainer exec --nv image.sif"])
@pytest.mark.parametrize("settings", [{}, {"strategy": "ddp", "nodes": 2, "processes": 8}, {"device": "cpu"}])
@pytest.mark.parametrize("servers", [[], [server(1)]])
def test_the_scripts_are_clean(
    tmp_path: Path, container: str | None, settings: dict[str, object], servers: list[Server]
) -> None:
    profile = GPU.model_copy(update={"container": container})
    if settings.get("device") == "cpu":
        profile = profile.model_copy(update={"gpus_per_node": 0})
    job(tmp_path, count=2, profile=profile, servers=servers, **settings)
    finish = tmp_path / "finish.sbatch"
    finish.write_text(finish_file(tmp_path, tmp_path / "run", LauncherConfig(), profile, tmp_path / "code"))
    scripts = [str(tmp_path / "it's a job" / name) for name in ("job.sbatch", "node.sh")] + [str(finish)]
    for script in scripts:
        assert not re.search(r"@[a-z_]+@", Path(script).read_text())
        subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", "-s", "bash", *scripts], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_secrets_of_the_environment_are_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a-secret-key")
    assert not any("a-secret-key" in text for text in job(tmp_path).values())


def test_a_batch_script_outside_a_job_says_so(tmp_path: Path) -> None:
    job(tmp_path)
    done = subprocess.run(
        ["bash", str(tmp_path / "it's a job" / "job.sbatch")],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "SLURM_JOB_ID is missing: this file runs inside a job, submit it with sbatch" in done.stderr


def test_an_option_that_the_script_depends_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"launcher\.slurm\.sbatch\.signal: adhere decides it"):
        job(tmp_path, slurm={"sbatch": {"signal": "B:USR2@10"}})


def checkpoint(artifact: Path, step: int) -> None:
    folder = artifact / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "COMPLETE").touch()


def log(artifact: Path, text: str) -> None:
    (artifact / "logs").mkdir(parents=True, exist_ok=True)
    (artifact / "logs" / "attempt_0.log").write_text(text)


def test_a_crash_is_requeued_until_it_brings_nothing_new(tmp_path: Path) -> None:
    log(tmp_path, "exitcode  : -9")
    assert [end(Artifact(tmp_path), 0, "RUNNING", 2)[0] for _ in range(2)] == [REQUEUE, REQUEUE]
    checkpoint(tmp_path, 5)
    assert [end(Artifact(tmp_path), 0, "RUNNING", 2)[0] for _ in range(3)] == [REQUEUE, REQUEUE, FAILED]
    reason = json.loads((tmp_path / "FAILED").read_text())["message"]
    assert reason == (
        "a rank was killed (SIGKILL); 3 attempts brought nothing newer than checkpoint 5 "
        "(launcher.slurm.max_requeues=2)"
    )


@pytest.mark.parametrize(
    ("tail", "code", "words"),
    [
        ("[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(", REQUEUE, "an NCCL time-out"),
        ("RuntimeError: ... EADDRINUSE: address already in use", REQUEUE, "a port was taken"),
        ("OSError: [Errno 122] Disk quota exceeded", FAILED, "the disk or its quota is full"),
        ("torch.OutOfMemoryError: CUDA out of memory.", FAILED, "out of GPU memory"),
    ],
)
def test_known_ends_are_recognised(tmp_path: Path, tail: str, code: int, words: str) -> None:
    log(tmp_path, tail)
    found, reason = end(Artifact(tmp_path), 0, "RUNNING", 3)
    assert found == code and words in reason


def test_markers_decide_before_anything_else(tmp_path: Path) -> None:
    log(tmp_path, "exitcode  : -9")
    assert end(Artifact(tmp_path), 0, "CANCELLED", 3)[0] == FAILED
    assert not (tmp_path / "FAILED").exists()
    (tmp_path / "REQUEUE").write_text('{"step": 7}')
    assert end(Artifact(tmp_path), 0, "RUNNING", 0) == (REQUEUE, "stopped with a checkpoint at step 7; requeued")
    Artifact(tmp_path).fail("the rows are empty")
    assert end(Artifact(tmp_path), 0, "RUNNING", 3) == (FAILED, "the rows are empty")
    (tmp_path / "DONE").touch()
    assert end(Artifact(tmp_path), 0, "RUNNING", 3)[0] == DONE


FOUR = {"node1", "node2", "node3", "node4"}
BAD = "srun: error: x\nadhere-node node1 ok\nadhere-node node2 fault sees 1 GPUs, the job needs 4\n"


def test_a_bad_node_is_kept_out_of_the_next_attempts_until_they_are_spent(tmp_path: Path) -> None:
    pair = ["node1", "node2"]
    code, reason, out = judge_nodes(Artifact(tmp_path), pair, BAD, FOUR, {"node4"}, 1)
    assert (code, out) == (REQUEUE, ["node2", "node4"])
    assert reason == "node2: sees 1 GPUs, the job needs 4; requeued without it (1 of 1)"
    words = BAD.replace("node2", "node3")
    code, reason, _ = judge_nodes(Artifact(tmp_path), ["node1", "node3"], words, FOUR | {"node5"}, {*out}, 1)
    assert code == FAILED and "node2: sees 1 GPUs" in reason and "node3: sees 1 GPUs" in reason
    assert Artifact(tmp_path).message() == reason and not Artifact(tmp_path).attempts.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (BAD.replace("node1 ok", "node1 fault may not write"), FAILED, "of the partition's 3 nodes 1 are left"),
        ("adhere-node node1 ok\n", REQUEUE, "node2: did not answer"),
        (
            "slurmstepd: error: pyxis: no image\nadhere-node node1 ok\n",
            REQUEUE,
            "node2: did not answer: slurmstepd: err",
        ),
        ("srun: unrecognized option '--container-image=x'\nTry...", FAILED, "correct srun of the profile"),
        ("adhere-node node1 ok\nadhere-node node2 profile has no vllm", FAILED, "node2: has no vllm"),
        ("adhere-node node9 ok\nadhere-node node1 ok", REQUEUE, "node2: did not answer"),
        ("adhere-node node1 okay\nadhere-node node2 ok", REQUEUE, "node1: did not answer"),
    ],
)
def test_what_the_nodes_said_decides(tmp_path: Path, words: str, code: int, said: str) -> None:
    found, reason, _ = judge_nodes(Artifact(tmp_path), ["node1", "node2"], words, {"node1", "node2", "node3"}, set(), 3)
    if "did not answer" in said:
        found, reason, _ = judge_nodes(Artifact(tmp_path), ["node1", "node2"], words, set(), set(), 3)
    assert found == code and said in reason
    assert Artifact(tmp_path).failed.exists() == (code == FAILED)


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ("JobState=RUNNING Reason=None RunTime=00:01:00 TimeLimit=00:30:00", "RUNNING"),
        ("JobState=COMPLETING Reason=None RunTime=00:01:00 TimeLimit=00:30:00", "CANCELLED"),
        ("JobState=COMPLETING Reason=None RunTime=1-00:00:09 TimeLimit=1-00:00:00", "TIMEOUT"),
        ("JobState=COMPLETING Reason=None RunTime=00:01:00 TimeLimit=UNLIMITED", "CANCELLED"),
        ("JobState=PENDING Reason=BeginTime RunTime=00:00:00 TimeLimit=00:30:00", "PREEMPTED"),
        ("", "RUNNING"),
    ],
)
def test_what_slurm_says_of_a_job_that_it_takes_down(job: str, why: str) -> None:
    assert why_ending(job) == why


def test_past_its_time_limit_a_stage_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    code, reason = end(Artifact(tmp_path), 0, "TIMEOUT", 3)
    assert code == REQUEUE and "a longer launcher.slurm.notice_seconds" in reason


def test_a_taken_port_is_passed_over_and_attempts_are_counted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(tmp_path, "")
    first, second, attempt = map(int, begin(Artifact(tmp_path), 17).split())
    assert (second, attempt) == (first + 1, 1)
    with socket.create_server(("", first)):
        assert int(begin(Artifact(tmp_path), 17).split()[0]) != first
        monkeypatch.setattr("adhere.train.launch.slurm.attempt.TRIES", 1)
        with pytest.raises(StageError, match=f"all ports from {first} to {second} are taken"):
            begin(Artifact(tmp_path), 17)


def test_the_snapshot_is_named_by_its_content_and_made_once(tmp_path: Path) -> None:
    first = snapshot(tmp_path)
    ours = {path.relative_to(REPOSITORY) for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")}
    assert {path.relative_to(first / "adhere") for path in (first / "adhere").rglob("*.py")} >= ours
    assert (first / "adhere/slurm/job.sbatch").exists() and not (first / "adhere/recipes/local").exists()
    (first / "marker").touch()
    assert snapshot(tmp_path) == first and (first / "marker").exists()


LAB = """\
from my_lab.words import BONUS

def brevity(rollouts):
    return [BONUS for _ in rollouts]
"""


def test_the_snapshot_holds_the_packages_of_plug_ins_and_rewards_and_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, root = tmp_path / "work" / "my_lab", tmp_path / "work" / "my_lab" / "runs"
    (lab / "data").mkdir(parents=True)
    (lab / "rewards.py").write_text(LAB)
    (lab / "words.py").write_text("BONUS = 0.25\n")
    (lab / "data" / "words.txt").write_text("short\n")
    (lab / "data" / "round").symlink_to(lab)
    (lab / ".git").mkdir()
    (lab / ".git" / "config").touch()
    root.mkdir()
    (root / "big.bin").touch()
    (tmp_path / "work" / "my_plugin.py").write_text("COLOUR = 'red'\n")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("sys.path", [*sys.path])
    reward = "{kind: python, function: 'my_lab.rewards:brevity', weight: 0.2}"
    run = plan_run(["recipe=quickstart", "plugins=[my_plugin]", f"+rewards.components.brevity={reward}", "~arms"])
    assert packages_of(run) == {"my_lab", "my_plugin"}
    code = snapshot(root, packages_of(run))
    copied = {str(path.relative_to(code)) for path in code.rglob("*") if path.is_file()}
    users = {"my_plugin.py", "my_lab/rewards.py", "my_lab/words.py", "my_lab/data/words.txt"}
    assert {name for name in copied if not name.startswith("adhere/")} == users

    # Edited after submitting: a job that starts in the same folder runs the copy; the next submission is another.
    (lab / "words.py").write_text("BONUS = 1.0\n")
    script = (
        "from adhere.rewards.plugins import load_plugins; load_plugins(['my_lab.rewards']); import my_lab.words as w"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{script}; print(w.BONUS, w.__file__)"],
        env={**os.environ, "PYTHONPATH": str(code)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["0.25", str(code / "my_lab" / "words.py")]
    assert snapshot(root, packages_of(run)) != code


def test_installed_packages_are_copied_unless_they_are_compiled_and_pythons_own_never(tmp_path: Path) -> None:
    code = snapshot(tmp_path, ["yaml", "hydra", "json", "tqdm"])
    assert {path.name for path in code.iterdir()} == {"adhere", "hydra", "tqdm"}


@pytest.mark.parametrize("path", sorted((slurm_folder() / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_profile_is_one(path: Path) -> None:
    assert load_profile(path.stem).partition


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpus_per_node: 0\ntime: '1'\nshared: /x\n", r"partition: is missing"),
        ("partition: a\npartitoin: b\ngpus_per_node: 0\ntime: '1'\nshared: /x\n", r"did you mean 'partition'"),
        ("partition: a\ngpus_per_node: 0\ntime: tomorrow\nshared: /x\n", r"time: "),
        ("a: [", r"is not valid YAML"),
    ],
)
def test_a_wrong_profile_names_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as found:
        load_profile(str(path))
    assert "mine.yaml" in str(found.value)


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"no 'gpus' \(did you mean 'gpu'\?\); there are amd, container, cpu, gpu, pyxis"
    ):
        load_profile("gpus")


@pytest.mark.parametrize(
    ("settings", "root", "words"),
    [
        ({}, "/home/me/runs", r"run\.root: /home/me/runs is not below /shared"),
        ({"strategy": "ddp", "processes": 8}, "/shared/runs", r"set launcher\.nodes=2"),
        ({"strategy": "ddp", "processes": 3, "nodes": 2}, "/shared/runs", r"3 ranks cannot be divided among 2 nodes"),
        ({"device": "cpu"}, "/shared/runs", r"launcher\.device: cpu"),
    ],
)
def test_a_launcher_that_does_not_fit_the_cluster(settings: dict[str, object], root: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_profile(GPU, LauncherConfig.model_validate(settings), Path(root))


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("30", 1800), ("10:30", 630), ("01:00:00", 3600), ("1-0", 86_400), ("1-02:30", 95_400), ("2-00:00:01", 172_801)],
)
def test_a_time_limit_is_read_as_sbatch_reads_it(time: str, seconds: int) -> None:
    assert time_seconds(time) == seconds


def test_the_plan_shows_what_would_be_submitted_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile, root = tmp_path / "mine.yaml", tmp_path / "runs"
    profile.write_text(f"partition: gpu\ngpus_per_node: 4\ngpu_memory_gib: 0.001\ntime: '4:00'\nshared: {tmp_path}\n")
    line = ["plan", "recipe=quickstart", f"run.root={root}", "launcher=slurm"]
    assert main([*line, f"launcher.slurm.profile={profile}", "stages=[sft,grpo]"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^  sbatch /.*/slurm/000-sft/job.sbatch\n  #SBATCH --job-name=quickstart-", said, flags=re.M)
    assert re.search(
        r"^  sbatch --dependency=afterok:<sft> --kill-on-invalid-dep=yes /.*/001-grpo-x2/", said, flags=re.M
    )
    assert "#SBATCH --array=0-1" in said and "afterany:<sft>:<grpo-x2> " in said
    assert "launcher.slurm.notice_seconds: 300 is not less than the job's time limit of 4:00 (240 s)" in said
    assert "more than the 0.001 GiB there are" in said
    assert "set -euo pipefail" not in said and not root.exists()


def test_the_documented_lines_for_two_nodes_are_planned_as_one_job_over_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "cluster.yaml"
    shipped = load_profile("gpu").model_dump(mode="json", exclude_none=True)
    profile.write_text(yaml.safe_dump(shipped | {"shared": str(tmp_path)}))
    page = (REPOSITORY / "docs" / "slurm.md").read_text().partition("## Two nodes for 7 B")[2]
    (block, *_) = re.findall(r"^```\n(.*?)^```", page, flags=re.M | re.S)
    lines = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    assert len(lines) == 2 and all(line[:2] == ["adhere", "train"] for line in lines)
    for line in lines:
        words = [w.replace("/shared/me/runs", str(tmp_path / "runs")) for w in line[2:]]
        words = [w.replace("/home/me/cluster.yaml", str(profile)).replace("MATHIF", str(tmp_path)) for w in words]
        assert main(["plan", *words]) == 0
        said = capsys.readouterr().out
        assert "zero3, 16 ranks" in said and "#SBATCH --nodes=2" in said and "#SBATCH --gres=gpu:8" in said
