"""What keeps real clusters out: containers by srun, a bare environment, proxies, bad nodes, small limits."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Site

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
    site.cluster.wait(site.cluster.idle, seconds=240.0)
    assert "1 of 1 stages done" in site.status("pyxis"), site.output("pyxis")
    calls = log.read_text().splitlines()
    assert calls and all(f"--container-image={image}" in call for call in calls)
    assert all(f"--container-mounts={site.shared}:{site.shared}" in call for call in calls)
    assert (site.shared / "pyxis/latest/stages/sft/model/README.md").exists(), (
        "the job that ends the run is inside, too"
    )


def test_options_that_srun_does_not_know_end_the_stage_in_its_words(site: Site) -> None:
    site.submit("unknown", *ONE, srun={"container-image": "/images/x.sqsh"}, python="python3")
    site.cluster.wait(site.cluster.idle, seconds=240.0)
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
    site.cluster.wait(site.cluster.idle, seconds=240.0)
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
    site.cluster.wait(site.cluster.idle, seconds=240.0)
    assert "1 of 1 stages done" in site.status("bare"), site.output("bare")


def test_a_bad_node_is_left_out_and_the_stage_goes_on_on_another(site: Site) -> None:
    # node1 shows its GPUs wrongly; the job starts there first.
    broken = "[[ $SLURMD_NODENAME != node1 ]] || export CUDA_VISIBLE_DEVICES=0"
    gpus = ["strategy=ddp", "launcher.processes=2", "launcher.device=auto"]
    site.submit("badnode", *ONE, *gpus, gpus_per_node=2, setup=[broken])
    site.cluster.wait(site.cluster.idle, seconds=240.0)
    said = site.output("badnode")
    assert "1 of 1 stages done" in site.status("badnode"), said
    assert (
        "node1: sees 1 GPUs (CUDA_VISIBLE_DEVICES='0'), the job needs 2" in said
        and "requeued without it (1 of 3)" in said
    )
    assert "on node2, restart 1" in said
