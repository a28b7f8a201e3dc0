"""What a job does before and after an attempt at its stage: judge its nodes, choose ports; then end, requeue or fail.

Run by the batch script as ``python -m adhere.train.launch.slurm.attempt``; it needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

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


def judge_nodes(
    artifact: Artifact, nodes: Sequence[str], words: str, usable: Set[str], excluded: Set[str], max_requeues: int
) -> tuple[int, str, list[str]]:
    """Decide what follows when not every node of a job said that it is well.

    The nodes that did not are kept out of the next attempt, which counts as one that brought no checkpoint. What every
    node would meet (a package that is missing, an option that srun does not know) ends the stage.

    Args:
        artifact: the stage's.
        nodes: the job's.
        words: what they and srun said.
        usable: all nodes of the partition; empty where Slurm does not say.
        excluded: nodes that the job keeps out of already.
        max_requeues: from 0.

    Returns:
        One of the exit codes above, the reason in words, and the nodes to keep out.
    """
    said = dict[str, tuple[str, str]]()
    for line in words.splitlines():
        if found := re.match(r"adhere-node (\S+) (ok|fault|profile)(?: (.*))?$", line):
            said[found[1]] = (found[2], found[3] or "")
    ours = [line for line in words.splitlines() if line.strip() and not line.startswith("adhere-node")]
    unknown = next((line for line in ours if re.search(r"unrecogni[sz]ed option|invalid option", line)), None)
    wrong = [f"{node}: {text}" for node, (verdict, text) in said.items() if verdict == "profile"]
    if unknown is not None and not said:
        wrong = [f"{unknown.removeprefix('srun: ')}: correct srun of the profile"]
    if wrong:
        artifact.fail(wrong[0])
        return FAILED, wrong[0], []

    silent = ("fault", f"did not answer: {ours[-1]}" if ours else "did not answer")
    bad = {node: said.get(node, silent)[1] for node in nodes if said.get(node, silent)[0] != "ok"}
    reason = "; ".join(f"{node}: {text}" for node, text in bad.items())
    out = excluded | {*bad}
    known, newest, spent = _spent(artifact)
    before: dict[str, str] = known.get("refused", {})
    left = len({*usable} - out)
    if spent <= max_requeues and (not usable or left >= len(nodes)):
        counted = {"checkpoint": newest, "crashes": spent, "refused": before | bad}
        write_json(artifact.attempts, counted)
        return REQUEUE, f"{reason}; requeued without it ({spent} of {max_requeues})", sorted(out)
    every = "; ".join(f"{node}: {text}" for node, text in (before | bad).items())
    if spent <= max_requeues:
        every += f"; of the partition's {len(usable)} nodes {left} are left, the job needs {len(nodes)}"
    artifact.fail(every)
    artifact.attempts.unlink(missing_ok=True)
    return FAILED, every, []


def _spent(artifact: Artifact) -> tuple[dict[str, Any], int | None, int]:
    """Return what is counted, the newest complete checkpoint, and the attempts without a newer one, this one too."""
    known, newest = read_marker(artifact.attempts), max(complete_checkpoints(artifact.checkpoints), default=None)
    return known, newest, known.get("crashes", 0) + 1 if known.get("checkpoint") == newest else 1


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


def end(artifact: Artifact, attempt: int, state: str, max_requeues: int, until: int | None = None) -> tuple[int, str]:
    """Decide what follows the attempt; return one of the exit codes above and the reason in words.

    A stage that stopped on request is requeued. A crash is too, but at most ``max_requeues`` times without a newer
    complete checkpoint. A reason that the stage itself left (``FAILED``) ends it.

    Args:
        artifact: the stage's.
        attempt: its number, from 0.
        state: what :func:`why_ending` says of the job.
        max_requeues: from 0.
        until: the optimizer step at which this job's part of the stage ends.
    """
    if artifact.done:
        artifact.attempts.unlink(missing_ok=True)
        return DONE, "done"
    if artifact.failed.exists():
        return FAILED, artifact.message() or "the stage failed"
    if state == "CANCELLED":
        return FAILED, "Slurm ends the job: it was cancelled, or is preempted and requeued by Slurm itself"
    stopped = artifact.stopped_at()
    if until is not None and stopped is not None and stopped >= until:
        artifact.attempts.unlink(missing_ok=True)
        return DONE, f"at step {stopped}, where successive halving decides"
    if artifact.requeue.exists():
        artifact.attempts.unlink(missing_ok=True)
        return REQUEUE, f"stopped with a checkpoint at step {stopped}; requeued"
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
    known, newest, spent = _spent(artifact)
    if again and spent <= max_requeues:
        write_json(artifact.attempts, known | {"checkpoint": newest, "crashes": spent})
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
    for name in ("begin", "nodes", "end"):
        commands.add_parser(name).add_argument("artifact", type=Path)
    commands.choices["begin"].add_argument("job", type=int)
    for name in ("nodes", "usable", "excluded", "words"):
        commands.choices["nodes"].add_argument(f"--{name}", required=True)
    commands.choices["end"].add_argument("--attempt", type=int, required=True)
    commands.choices["end"].add_argument("--job", required=True)
    commands.choices["end"].add_argument("--until", type=int, default=None)
    for name in ("nodes", "end"):
        commands.choices[name].add_argument("--max-requeues", type=int, required=True)
    given = parser.parse_args()
    artifact = Artifact(given.artifact)
    try:
        if given.command == "begin":
            print(begin(artifact, given.job))
            return 0
        if given.command == "nodes":
            code, reason, out = judge_nodes(
                artifact,
                given.nodes.split(),
                given.words,
                {*given.usable.split()},
                {*given.excluded.split()},
                given.max_requeues,
            )
            print(",".join(out))
        else:
            code, reason = end(artifact, given.attempt, why_ending(given.job), given.max_requeues, given.until)
    except AdhereError as error:
        print(f"adhere: {error}", file=sys.stderr)
        return error.exit_code
    print(f"adhere: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
