"""One real Slurm for all tests of this folder, and a folder of runs that its nodes share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import slurm_cluster
import yaml
from slurm_cluster import Cluster
from tiny_run import ONE_ARM, REPOSITORY, SMALL


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster, a folder that its nodes share, and the commands that a user of it types."""

    cluster: Cluster
    shared: Path

    def profile(self, **changes: object) -> Path:
        """Write a profile of this cluster; a key that is ``None`` is left out."""
        content = {"partition": "batch", "gpus_per_node": 0, "cpus_per_task": 1, "time": "00:30:00"}
        merged = {**content, "shared": str(self.shared), **changes}
        path = self.shared / f"profile-{len(list(self.shared.glob('profile-*')))}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in merged.items() if value is not None}))
        return path

    def adhere(self, *line: str, code: int = 0, place: Path = REPOSITORY, folder: Path | None = None) -> str:
        """Run a command with the code of ``place`` in ``folder``, expect its exit code, return all that it prints."""
        environment = {**self.cluster.environment, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "adhere.train.cli", *line],
            cwd=folder or place, env=environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def overrides(self, name: str, *more: str, **profile: object) -> list[str]:
        """Return the overrides of a small run in ``SHARED/name`` with one arm and a profile of this cluster."""
        place = ["launcher=slurm", f"launcher.slurm.profile={self.profile(**profile)}"]
        device = [o for o in SMALL if not o.startswith("launcher.")]
        small = ["launcher.device=cpu", "launcher.threads=1", "launcher.slurm.notice_seconds=60"]
        return [*place, *device, *small, *ONE_ARM, f"run.root={self.shared / name}", *more]

    def submit(self, name: str, *more: str, code: int = 0, place: Path = REPOSITORY, **profile: object) -> str:
        """Submit a small run."""
        return self.adhere("train", *self.overrides(name, *more, **profile), code=code, place=place)

    def status(self, name: str, code: int = 0) -> str:
        """Return what ``adhere status`` says of the newest run in ``SHARED/name``."""
        return self.adhere("status", str(self.shared / name / "latest"), code=code)

    def stage(self, name: str, label: str) -> Path:
        """Return the artifact of a stage."""
        return self.shared / name / "latest" / "stages" / label

    def output(self, name: str) -> str:
        """Return what the batch scripts of the newest run said, in the order of submission."""
        return "\n".join(p.read_text() for p in sorted((self.shared / name / "latest" / "slurm").glob("*/*.out")))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Bring the cluster up, and down again."""
    if reason := slurm_cluster.absent():
        pytest.skip(reason)
    shared = tmp_path_factory.mktemp("shared")
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield Site(cluster, shared)


def workers_of(artifact: Path) -> list[int]:
    """Return the process ids of the ranks that work on the artifact, without accelerate's agents."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            ours = any(w == str(artifact.resolve() / "stage.yaml") for w in words)
            if ours and "accelerate.commands.launch" not in words and "adhere.train.worker" in words:
                found.append(int(entry.name))
    return found
