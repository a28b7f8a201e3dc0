"""What a job does before and after an attempt at its stage: choose ports and log; then end, requeue or fail.

Run by the batch script as ``python -m adhere.train.launch.slurm.attempt``; it needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
from pathlib import Path

from adhere.records.artifact import Artifact, complete_checkpoints, read_marker
from adhere.rewards.errors import AdhereError, StageError
from adhere.rewards.files import write_json

DONE, FAILED, REQUEUE = 0, 1, 75
"""Exit codes of ``end``; 75 is sysexits' "try again later"."""

PORTS, FIRST_PORT, TRIES = 20_000, 20_000, 32
TAIL_BYTES = 65_536

KNOWN_ENDS = (
    (r"Watchdog caught collective operation timeout|ProcessGroupNCCL.*[Tt]imeout", True,
     "an NCCL time-out: a rank hung or its link is down; NCCL_DEBUG=INFO in the profile's setup tells which"),
    (r"EADDRINUSE|[Aa]ddress already in use", True, "a port was taken by another job; the next attempt tries others"),
    (r"[Dd]isk quota exceeded|No space left on device|the disk that holds .* is full", False,
     "the disk or its quota is full; free some space and run the same command again, finished stages are kept"),
    (r"CUDA out of memory|OutOfMemoryError", False,
     "out of GPU memory; a smaller per_device_batch_size with more gradient_accumulation trains the same"),
    (r"oom-kill|oom_kill", True, "out of host memory; raise memory in the profile"),
)  # fmt: skip
"""What the end of a log says, whether another attempt may help, and what it means for people."""

LATE = (True, "the time limit came before the step's end; a longer launcher.slurm.notice_seconds leaves room for it")


def begin(artifact: Artifact, job: int) -> str:
    """Return the rendezvous port, the companion server's port, and the attempt's number, for the job ``job``.

    Ports follow from the job's id, so that jobs that share a node do not collide; ports in use are skipped.

    Raises:
        StageError: no port is free.
    """
    logs = artifact.logs
    logs.mkdir(parents=True, exist_ok=True)
    numbers = [int(found[1]) for path in logs.iterdir() if (found := re.match(r"attempt_(\d+)", path.name))]
    for offset in range(TRIES):
        first = FIRST_PORT + (2 * job + 2 * offset) % PORTS
        if all(_free(port) for port in (first, first + 1)):
            return f"{first} {first + 1} {max(numbers, default=-1) + 1}"
    tried = f"{FIRST_PORT + 2 * job % PORTS} to {first + 1}"
    raise StageError(f"{socket.gethostname()}: all ports from {tried} are taken; end what holds them")


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        try:
            tried.bind(("", port))
        except OSError:
            return False
        return True


def refuse(artifact: Artifact, words: str) -> None:
    """Record ``words`` as the reason why the stage failed; another attempt would fail the same way."""
    last = [line for line in words.splitlines() if line.strip() and not line.startswith(("srun:", "slurmstepd:"))]
    artifact.fail(last[0] if last else words.strip() or "the nodes were refused")


def why_ending(job: str) -> str:
    """Return why Slurm ends the job that ``scontrol show job -o`` describes, or RUNNING where it does not end it.

    While a job is taken down Slurm calls it COMPLETING, whether it was cancelled or ran into its limit; its times tell.
    """
    found = dict(re.findall(r"(JobState|RunTime|TimeLimit)=(\S+)", job))
    if found.get("JobState", "RUNNING") == "RUNNING":
        return "RUNNING"
    if found["JobState"] in ("PENDING", "PREEMPTED", "REQUEUED"):
        return "PREEMPTED"
    ran, limit = (_seconds(found.get(key, "")) for key in ("RunTime", "TimeLimit"))
    return "TIMEOUT" if ran is not None and limit is not None and ran >= limit else "CANCELLED"


def _seconds(text: str) -> int | None:
    """Read Slurm's ``D-HH:MM:SS``; ``None`` for what is not a time, such as UNLIMITED."""
    if not (found := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text)):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def end(artifact: Artifact, attempt: int, state: str, max_requeues: int) -> tuple[int, str]:
    """Decide what follows the attempt; return one of the exit codes above and the reason in words.

    A stage that stopped on request is requeued. A crash is too, but at most ``max_requeues`` times without a newer
    complete checkpoint. A reason that the stage itself left (``FAILED``) ends it.

    Args:
        artifact: the stage's.
        attempt: its number, from 0.
        state: what :func:`why_ending` says of the job.
        max_requeues: from 0.
    """
    if artifact.done:
        artifact.attempts.unlink(missing_ok=True)
        return DONE, "done"
    if artifact.failed.exists():
        return FAILED, artifact.message() or "the stage failed"
    if state == "CANCELLED":
        return FAILED, "Slurm ends the job: it was cancelled, or is preempted and requeued by Slurm itself"
    if artifact.requeue.exists():
        artifact.attempts.unlink(missing_ok=True)
        return REQUEUE, f"stopped with a checkpoint at step {artifact.stopped_at()}; requeued"
    if state == "PREEMPTED":
        return REQUEUE, "preempted before a checkpoint could be written; requeued, it goes on from its newest one"
    # What the end of the attempt's logs says.
    tail = ""
    for path in sorted(artifact.logs.glob(f"attempt_{attempt}[._]*log")):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            tail += file.read().decode("utf-8", errors="replace") + "\n"
    killed = re.search(r"exitcode\s*:\s*-9|Signal 9|SIGKILL", tail)
    unknown = (True, "a rank was killed (SIGKILL)" if killed else "the worker ended without an error message")
    known_end = ((again, meaning) for pattern, again, meaning in KNOWN_ENDS if re.search(pattern, tail))
    again, reason = LATE if state == "TIMEOUT" else next(known_end, unknown)
    known, newest = read_marker(artifact.attempts), max(complete_checkpoints(artifact.checkpoints), default=None)
    spent = known.get("crashes", 0) + 1 if known.get("checkpoint") == newest else 1
    if again and spent <= max_requeues:
        write_json(artifact.attempts, {"checkpoint": newest, "crashes": spent})
        return REQUEUE, f"{reason}; requeued ({spent} of {max_requeues} without a newer checkpoint)"
    where = "no checkpoint" if newest is None else f"nothing newer than checkpoint {newest}"
    if again:
        reason += f"; {spent} attempts brought {where} (launcher.slurm.max_requeues={max_requeues})"
    artifact.fail(reason)
    artifact.attempts.unlink(missing_ok=True)
    return FAILED, reason


def main() -> int:
    """Answer the batch script."""
    parser = argparse.ArgumentParser(prog="python -m adhere.train.launch.slurm.attempt")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("begin", "refuse", "end"):
        commands.add_parser(name).add_argument("artifact", type=Path)
    commands.choices["begin"].add_argument("job", type=int)
    commands.choices["refuse"].add_argument("words")
    commands.choices["end"].add_argument("--attempt", type=int, required=True)
    commands.choices["end"].add_argument("--job", required=True)
    commands.choices["end"].add_argument("--max-requeues", type=int, required=True)
    given = parser.parse_args()
    artifact = Artifact(given.artifact)
    try:
        if given.command == "begin":
            print(begin(artifact, given.job))
            return 0
        if given.command == "refuse":
            refuse(artifact, given.words)
            return 0
        code, reason = end(artifact, given.attempt, why_ending(given.job), given.max_requeues)
    except AdhereError as error:
        print(f"adhere: {error}", file=sys.stderr)
        return error.exit_code
    print(f"adhere: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
