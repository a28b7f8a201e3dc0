"""Seconds and jobs that submitting an ablation of N arms to a real local Slurm takes: python bench/slurm_submit.py [N].

Brings up Slurm's daemons itself (Debian: slurmctld slurmd slurm-client munge; needs root). The jobs are held, so that
only submitting is measured: composing the arms, the snapshot of the code, the files and ``sbatch``.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))

from slurm_cluster import absent, cluster  # noqa: E402


def main() -> None:
    """Print one line with seconds and jobs for each of submit, status and cancel."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    if reason := absent():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as place, cluster(Path(place) / "slurm") as slurm:
        shared = Path(place) / "shared"
        shared.mkdir()
        profile = shared / "profile.yaml"
        profile.write_text(f"partition: batch\ngpus_per_node: 0\ntime: '10:00'\nshared: {shared}\n")
        arms = ",".join(f"a{i}:['rewards.components.checklist.weight={i / count:.4f}']" for i in range(count))
        train = ["train", "recipe=quickstart", "stages=[sft,grpo]", "~arms", f"+arms={{{arms}}}"]
        train += ["launcher=slurm", f"launcher.slurm.profile={profile}", "launcher.device=cpu"]
        train += ["+launcher.slurm.sbatch.hold=''", f"run.root={shared / 'runs'}"]
        for line in (train, ["status", str(shared / "runs/latest")], ["cancel", str(shared / "runs/latest")]):
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            environment = {**slurm.environment, "PYTHONPATH": str(REPOSITORY)}
            done = subprocess.run(
                [sys.executable, "-m", "adhere.train.cli", *line],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.perf_counter() - started
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            queued = len(slurm.run("squeue", "-h", "-r").split("\n")) - 1
            print(f"{line[0]:<7} {seconds:5.2f} s, {spent:.2f} s of CPU, then {queued} jobs queued", flush=True)
            if done.returncode:
                print(done.stdout + done.stderr)
        print(f"{count} arms, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
