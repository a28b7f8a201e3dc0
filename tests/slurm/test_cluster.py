"""What keeps real clusters out: containers by srun, a bare environment, proxies, bad nodes, small limits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Site
from fake_hub import commit_of, fake_hub
from tiny_run import REPOSITORY

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]

ONE = ["stages=[sft]", "sft.max_steps=1"]

PYXIS = """\
#!{python} -I
# What Pyxis does, as far as a job can tell: it takes its own options from srun, and runs the task in the image, where
# there is another Python than outside. The arguments of every call are kept.
import os, sys
arguments, mine = sys.argv[1:], dict()
for word in [w for w in arguments if w.startswith("--container")]:
    key, _, mine[key] = word.partition("=")
    arguments.remove(word)
with open("{log}", "a") as log:
    log.write(repr(sys.argv[1:]) + chr(10))
if mine:
    if mine.get("--container-image") != "{image}":
        sys.exit("slurmstepd: error: pyxis: there is no image " + mine.get("--container-image", ""))
    at = next(i for i, w in enumerate(arguments) if not w.startswith("-") and arguments[i - 1] != "-n")
    arguments[at:at] = ["env", "PATH={image}/bin:" + os.environ["PATH"], "IN_IMAGE=yes"]
os.execv("{srun}", ["srun", *arguments])
"""


def fake_pyxis(site: Site, place: Path) -> tuple[Site, Path, Path]:
    """Return the site with an srun that knows Pyxis' options, an image with a Python of its own, and a log."""
    image, log, real = place / "image.sqsh", place / "calls", shutil.which("srun")
    (image / "bin").mkdir(parents=True)
    inside = image / "bin" / "python-of-the-image"
    inside.write_text(f'#!/bin/sh\n[ "$IN_IMAGE" = yes ] && exec {sys.executable} "$@"\necho outside >&2; exit 9\n')
    inside.chmod(0o755)
    srun = place / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(PYXIS.format(python=sys.executable, log=log, image=image, srun=real))
    srun.chmod(0o755)
    path = f"{srun.parent}:{site.cluster.environment['PATH']}"
    return (
        replace(site, cluster=replace(site.cluster, environment={**site.cluster.environment, "PATH": path})),
        image,
        log,
    )


def test_with_pyxis_all_of_our_python_runs_in_the_image(site: Site, tmp_path: Path) -> None:
    inside, image, log = fake_pyxis(site, tmp_path)
    srun = {"container-image": str(image), "container-mounts": f"{site.shared}:{site.shared}"}
    inside.submit("pyxis", *ONE, srun=srun, python="python-of-the-image")
    site.cluster.wait(site.cluster.idle)
    assert "1 of 1 stages done" in site.status("pyxis"), site.output("pyxis")
    calls = log.read_text().splitlines()
    assert calls and all(f"--container-image={image}" in call for call in calls)
    assert all(f"--container-mounts={site.shared}:{site.shared}" in call for call in calls)
    assert (site.shared / "pyxis/latest/stages/sft/model/README.md").exists(), (
        "the job that ends the run is inside, too"
    )


def test_options_that_srun_does_not_know_end_the_stage_in_its_words(site: Site) -> None:
    site.submit("unknown", *ONE, srun={"container-image": "/images/x.sqsh"}, python="python3")
    site.cluster.wait(site.cluster.idle)
    said = site.status("unknown", code=1)
    assert (
        "failed    sft" in said and "unrecognized option '--container-image" in said and "srun of the profile" in said
    )


@pytest.mark.parametrize("missing", ["a_package_that_is_nowhere", "deepspeed"])
def test_packages_are_looked_for_on_the_node(site: Site, tmp_path: Path, missing: str) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:$PYTHONPATH exec {sys.executable} "$@"\n')
    other.chmod(0o755)
    # This Python finds neither package, whatever the login node's has.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        f"u.find_spec = lambda name, *rest: None if name == {missing!r} else find(name, *rest)\n"
    )
    zero = ["strategy=zero2"] if missing == "deepspeed" else []
    site.submit(f"lacks-{missing}", *ONE, *zero, python=str(other))
    site.cluster.wait(site.cluster.idle)
    said = site.status(f"lacks-{missing}", code=1 if zero else 0)
    assert (f"has no {missing}: install it there" in said) == bool(zero), said


def test_a_bare_environment_and_a_proxy_break_nothing(site: Site, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    bare = {"SBATCH_EXPORT": "NONE", "http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    narrow = replace(site, cluster=replace(site.cluster, environment={**site.cluster.environment, **bare}))
    model = Path(__file__).resolve().parents[2] / "recipes/assets/tiny_base"
    serve = "serve: {command: transformers, gpus: 1, start_seconds: 250, options: [--dtype, float32]}"
    judge = f"{{model: {model}, {serve}, max_tokens: 4, timeout: 100, deadline: 250}}"
    judged = [f"+rewards.components.taste={{kind: judge, weight: 0, judge: {judge}}}", "grpo.max_steps=1"]
    proxy = {name: value for name, value in bare.items() if "proxy" in name.lower()}
    settings = {"HF_HUB_CACHE": str(hub), "PATH": site.cluster.environment["PATH"], **proxy}
    setup = [f"export SLURM_CONF={site.cluster.environment['SLURM_CONF']} GLOO_SOCKET_IFNAME=lo"]
    ranks = ["strategy=ddp", "launcher.processes=2", "launcher.device=auto"]
    narrow.submit("bare", "stages=[grpo]", *ranks, *judged, gpus_per_node=2, environment=settings, setup=setup)
    site.cluster.wait(site.cluster.idle)
    assert "1 of 1 stages done" in site.status("bare"), site.output("bare")


def test_a_bad_node_is_left_out_and_the_stage_goes_on_on_another(site: Site) -> None:
    # node1 shows its GPUs wrongly; the job starts there first.
    broken = "[[ $SLURMD_NODENAME != node1 ]] || export CUDA_VISIBLE_DEVICES=0"
    gpus = ["strategy=ddp", "launcher.processes=2", "launcher.device=auto"]
    site.submit("badnode", *ONE, *gpus, gpus_per_node=2, setup=[broken])
    site.cluster.wait(site.cluster.idle)
    said = site.output("badnode")
    assert "1 of 1 stages done" in site.status("badnode"), said
    assert (
        "node1: sees 1 GPUs (CUDA_VISIBLE_DEVICES='0'), the job needs 2" in said
        and "requeued without it (1 of 3)" in said
    )
    assert "on node2, restart 1" in said


LATER = "+launcher.slurm.sbatch.begin=now+1hour"


def last_of(said: str) -> str:
    return next(line.split()[-1] for line in said.splitlines() if "submitted  comparison and cards" in line)


def asked(site: Site, job: str) -> dict[str, str]:
    """Return what ``scontrol`` says of a job."""
    said = site.cluster.run("scontrol", "show", "job", "-o", job)
    return dict(word.split("=", 1) for word in said.split() if "=" in word)


def test_the_job_that_ends_a_run_takes_little_and_nothing_is_queued_without_it(site: Site) -> None:
    finish = {"partition": "urgent", "time": "00:07:00", "memory": "300M"}
    said = site.submit("own", *ONE, LATER, finish=finish)
    last = asked(site, last_of(said))
    assert (last["Partition"], last["TimeLimit"], last["MinMemoryNode"]) == ("urgent", "00:07:00", "300M")
    assert last["NumCPUs"] == "1" and "gres" not in str(last).lower() and last["Reason"] == "Dependency"
    site.adhere("cancel", str(site.shared / "own/latest"))
    said = site.submit("nothing", *ONE, LATER, code=1, finish={"partition": "nosuch"})
    assert "Slurm rejects " in said and "finish.sbatch" in said and "nosuch" in said
    assert site.cluster.idle(), "no stage is queued without the job that ends the run"


def test_a_finish_job_that_is_gone_is_submitted_again_and_a_waiting_one_is_kept(site: Site) -> None:
    first = last_of(site.submit("again", *ONE, LATER))
    said = site.submit("again", *ONE, LATER)
    assert f"queued     comparison and cards     job {first}, submitted before" in said
    site.cluster.run("scancel", first)
    second = last_of(site.submit("again", *ONE, LATER))
    stage = json.loads((site.stage("again", "sft") / "slurm.json").read_text())["job"]
    assert second != first and f"afterany:{stage}(" in asked(site, second)["Dependency"]
    site.cluster.run("scontrol", "hold", second)
    site.submit("again", *ONE, LATER)
    assert asked(site, second)["Reason"] == "Dependency", "what a command left held when it was cut off goes on"
    said = site.adhere("cancel", str(site.shared / "again/latest"))
    assert said.count("cancelled  ") == 2 and site.cluster.idle()


def test_where_a_later_stage_is_rejected_what_is_queued_is_named_and_has_its_end(site: Site) -> None:
    stages = "stages=[sft,{evaluate:{of:[sft]}}]"
    said = site.submit("half", stages, LATER, code=1, evaluate={"partition": "nosuch"})
    stage = json.loads((site.stage("half", "sft") / "slurm.json").read_text())["job"]
    last = json.loads((site.shared / "half/latest/slurm/slurm.json").read_text())["job"]
    assert f"submitted before: sft job {stage}, and job {last}, which ends the run" in said
    assert f"afterany:{stage}(" in asked(site, last)["Dependency"]
    site.submit("half", stages, LATER, evaluate={"time": "00:03:00", "memory": "700M"})
    record = json.loads((site.stage("half", "evaluate-sft") / "slurm.json").read_text())["job"]
    evaluation = asked(site, record)
    assert (evaluation["TimeLimit"], evaluation["MinMemoryNode"]) == ("00:03:00", "700M")
    assert asked(site, stage)["TimeLimit"] == "00:30:00"
    assert f"afterany:{stage}(" in asked(site, last)["Dependency"] and record in asked(site, last)["Dependency"]
    site.adhere("cancel", str(site.shared / "half/latest"))
    assert site.cluster.idle()


def test_halving_decides_in_a_job_between_two_rounds(site: Site) -> None:
    points = "weights=[{checklist: 0},{checklist: 0.5},{checklist: 1}]"
    halving = "halving={rungs: [0.5], keep: 0.3, window: 0.5}"
    short = ["grpo.max_steps=4", "grpo.logging_steps=1"]
    line = [points, halving, *short, "stages=[sft,grpo,evaluate]"]
    said = site.adhere("ablate", *site.overrides("halving", *line))
    assert "grpo x 3" in said and "the choice at step 2" in said
    run = site.shared / "halving/latest"
    last, waits = last_of(said), asked(site, last_of(said))["Dependency"]
    site.cluster.run("scancel", last)
    said = site.adhere("ablate", *site.overrides("halving", *line))
    assert "submitted  grpo" not in said and asked(site, last_of(said))["Dependency"].count("(") >= waits.count("(") - 1
    assert len(json.loads((run / "arms.json").read_text())["points"]) == 3, "it is there from the beginning"
    site.cluster.wait(site.cluster.idle)
    course = json.loads((run / "arms.json").read_text())
    (rung,) = course["rungs"]
    assert rung["step"] == 2 and len(rung["kept"]) == 1 and len(rung["ended"]) == 2
    assert course["saved_share_of_steps"] == pytest.approx(1 / 3) and course["seconds"]["alone"] > 0
    assert not course["failed"] and not course["skipped"]
    said = site.status("halving")
    assert said.count("ended early") == 4 and "results: " in said, said + site.output("halving")
    logs = [(p / "metrics.jsonl").read_text().splitlines() for p in (run / "stages").glob("grpo*")]
    assert sorted(max(json.loads(row)["step"] for row in rows) for rows in logs) == [2, 2, 4]
    assert "nothing to do" in site.adhere("ablate", *site.overrides("halving", *line))


SEARCH = """\
from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.core.plugins import Plugins

class Search(Sweeper):
    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments):
        for number, seed in enumerate((3, 4)):
            (done,) = self.launcher.launch([[*arguments, f"seed={seed}"]], initial_job_idx=number)
            print("the search was told", float(done.return_value), flush=True)

ConfigStore.instance().store(
    group="hydra/sweeper", name="search", node={"_target_": "hydra_plugins.search.Search"}, provider="test"
)
"""


def test_a_sweeper_that_searches_is_told_each_points_value(site: Site, tmp_path: Path) -> None:
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "search.py").write_text(SEARCH)
    path = f"{tmp_path}:{site.cluster.environment.get('PYTHONPATH', '')}"
    line = ["-m", "hydra/sweeper=search", *site.overrides("search", "stages=[sft,evaluate]", "sft.max_steps=1")]
    environment = {**site.cluster.environment, "PYTHONPATH": f"{REPOSITORY}:{path}"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "adhere.train.cli", "train", *line],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.count("the search was told 0") == 2, done.stdout + done.stderr
    assert site.cluster.idle(), "each value was waited for"


def test_a_rehearsal_runs_on_the_cluster(site: Site) -> None:
    stages = "stages={sft: {}, look: {kind: rehearse, from: sft}}"
    site.submit("rehearsal", stages, "rehearse.groups=2")
    site.cluster.wait(site.cluster.idle)
    assert "2 of 2 stages done" in site.status("rehearsal"), site.output("rehearsal")


def test_what_was_fetched_is_enough_for_jobs_without_a_network(site: Site, tmp_path: Path) -> None:
    cache = {"HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    plain = {name: value for name, value in site.cluster.environment.items() if not name.startswith("HF_")}
    offline = replace(site, cluster=replace(site.cluster, environment=plain | cache))
    words = site.overrides("fetched", *ONE, "model.path=lab/tiny")
    with fake_hub({"models/lab/tiny": REPOSITORY / "recipes/assets/tiny_base"}) as (endpoint, _):
        online = replace(site, cluster=replace(site.cluster, environment=plain | cache | {"HF_ENDPOINT": endpoint}))
        online.adhere("fetch", *words)
    offline.adhere("train", *words)
    site.cluster.wait(site.cluster.idle)
    assert "1 of 1 stages done" in site.status("fetched"), site.output("fetched")
    commit = commit_of(REPOSITORY / "recipes/assets/tiny_base")
    assert f"revision: {commit}" in (site.stage("fetched", "sft") / "stage.yaml").read_text()
    (node,) = (site.shared / "fetched/latest/slurm").glob("*/node.sh")
    assert "export HF_HUB_OFFLINE=1" in node.read_text()
