"""A real Slurm of two nodes on this host: Debian's daemons with a munge, ports, spool and settings of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOLD_SECONDS = 4.0
DAEMONS = ("slurmctld", "slurmd", "munged", "sbatch")
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
CredType=cred/munge
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=2
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MinJobAge=600
GresTypes=gpu
MaxArraySize=1001
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=4 RealMemory=8000 Gres=gpu:2
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs=4 RealMemory=8000 Gres=gpu:2
PartitionName=batch Nodes=node1,node2 Default=YES MaxTime=60 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=120
PartitionName=urgent Nodes=node1,node2 MaxTime=60 State=UP PriorityTier=10 PreemptMode=OFF
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running Slurm; ``environment`` is what its clients need."""

    place: Path
    environment: dict[str, str]
    held: dict[str, float] = field(default_factory=dict)
    """When a requeued job was first seen to be held."""

    def run(self, *line: str) -> str:
        """Run a client command and return what it prints."""
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def queue(self) -> dict[str, tuple[str, str]]:
        """Return state and reason of every job by its id; array tasks have their own."""
        lines = self.run("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r").splitlines()
        return {job: (state, reason) for job, state, reason in (line.split("|", 2) for line in lines)}

    def release(self) -> None:
        """Let requeued jobs start; Slurm holds them for two minutes otherwise.

        Within a second or two of the requeue a node would still refuse the job ("Job credential revoked").
        """
        held = {job for job, (state, reason) in self.queue().items() if (state, reason) == ("PENDING", "BeginTime")}
        for job in set(self.held) - held:
            del self.held[job]
        for job in held:
            if time.monotonic() - self.held.setdefault(job, time.monotonic()) > HOLD_SECONDS:
                subprocess.run(
                    ["scontrol", "update", f"jobid={job}", "StartTime=now"],
                    env=self.environment, capture_output=True, timeout=60, check=False,
                )  # fmt: skip

    def wait(self, reached: Callable[[], bool], seconds: float = 900.0) -> None:
        """Wait until ``reached()``, releasing requeued jobs meanwhile."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not reached in {seconds:.0f} s; the queue: {self.queue()}"
            self.release()
            time.sleep(0.3)

    def idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self.run("squeue", "-h").strip()


def absent() -> str | None:
    """Return why a cluster cannot be brought up here, or nothing."""
    if os.geteuid() != 0:
        return "the Slurm tests bring up daemons of their own and need root"
    missing = [name for name in DAEMONS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]
    return f"not installed: {', '.join(missing)} (apt install slurmctld slurmd slurm-client munge)" if missing else None


@contextlib.contextmanager
def cluster(place: Path) -> Iterator[Cluster]:
    """Bring a cluster up in ``place``, and every daemon of it down again."""
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o755)
    controller, port1, port2 = _free_ports(3)
    host = socket.gethostname().split(".")[0]
    config = place / "slurm.conf"
    config.write_text(CONFIG.format(place=place, host=host, controller=controller, port1=port1, port2=port2))
    gpus = [place / f"gpu{i}" for i in range(4)]
    for gpu in gpus:
        subprocess.run(["mknod", str(gpu), "c", "1", "3"], check=True)
    (place / "gres.conf").write_text(
        f"NodeName=node1 Name=gpu File={place}/gpu[0-1]\nNodeName=node2 Name=gpu File={place}/gpu[2-3]\n"
    )
    (place / "state").mkdir()
    key = place / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))},
        "SLURM_CONF": str(config),
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    lines = [
        ["munged", "--force", "--foreground", f"--key-file={key}", f"--socket={place}/munge.socket",
         f"--pid-file={place}/munged.pid", f"--log-file={place}/munged.log", f"--seed-file={place}/munge.seed"],
        ["slurmctld", "-D", "-c", "-f", str(config)],
        ["slurmd", "-D", "-N", "node1", "-f", str(config)],
        ["slurmd", "-D", "-N", "node2", "-f", str(config)],
    ]  # fmt: skip
    daemons: list[subprocess.Popen[bytes]] = []
    here = Cluster(place, environment)
    try:
        for line in lines:
            log = (place / f"{line[0]}.out").open("ab")
            daemons.append(subprocess.Popen(line, env=environment, stdout=log, stderr=log, start_new_session=True))
            log.close()
            if line[0] == "munged":
                _until(lambda: (place / "munge.socket").exists(), "munged")
        _until(lambda: _idle_nodes(here) == 2, "two idle nodes")
        yield here
    finally:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            here.run("scancel", "--user=root")
            _until(here.idle, "an empty queue", 40.0)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _idle_nodes(here: Cluster) -> int:
    done = subprocess.run(
        ["sinfo", "-h", "-N", "-p", "batch", "-t", "idle", "-o", "%N"],
        env=here.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return len(done.stdout.split())


def _until(reached: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
