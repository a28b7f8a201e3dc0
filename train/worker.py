"""The worker: runs one stage from its ``stage.yaml`` in every rank. Started by the launcher, never by hand.

Stages that share a model run one after another in one process, which then loads the model once.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

from safetensors import SafetensorError

from adhere.records.artifact import EXIT_STOPPED, NEXT_STAGE, STOP_CLEARED, Artifact, Stopped, held
from adhere.rewards.errors import AdhereError, StageError
from adhere.train.config.kinds import kind_of
from adhere.train.config.stage import StageSpec, read_spec
from adhere.train.config.trackers import finish_trackers
from adhere.train.launch.orphans import end_with_parent

FULL_DISK = 64 * 1024 * 1024
RANK = int(os.environ.get("RANK", "0"))


def main() -> None:
    """Run the stages that the arguments describe; exit 0 when they are done, 85 when one was asked to stop.

    A rank that torch's launcher started exits with 0 in both cases; ``REQUEUE`` tells them apart.
    """
    end_with_parent()
    try:
        for number, path in enumerate(sys.argv[1:]):
            artifact = Artifact(Path(path).parent)
            with held(artifact) if RANK == 0 else nullcontext():
                if number > 0:
                    # The driver prepared the first stage; another run may have brought this one to its end.
                    if not artifact.done:
                        artifact.begin()
                        artifact.servers.unlink(missing_ok=True)
                    print(NEXT_STAGE, end="", flush=True)
                    if artifact.done:
                        continue
                attempt(artifact)
    except Stopped as stopped:
        if RANK == 0:
            print_for_user(f"{stopped}; the same command goes on from there")
        # torch's launcher takes any other code of a rank for a failure, ends the others and tells of it at length.
        sys.exit(0 if "TORCHELASTIC_RUN_ID" in os.environ else EXIT_STOPPED)
    except AdhereError as error:
        print_for_user(f"error: {error}")
        sys.exit(error.exit_code)


def attempt(artifact: Artifact) -> None:
    """Run the stage, and leave beside it what a launcher has to know where it does not come to its end.

    Raises:
        Stopped: it was asked to end, and wrote what it resumes from.
        AdhereError: it cannot go on until somebody changes something.
    """
    if RANK == 0:
        artifact.begin(keep_stop=STOP_CLEARED in os.environ)
    code = 1
    try:
        run(read_spec(artifact.spec), artifact)
        code = 0
    except Stopped as stopped:
        import torch.distributed as dist

        if RANK == 0:
            finish_trackers(EXIT_STOPPED)
            artifact.hand_back(stopped.step)
        if dist.is_initialized():
            dist.barrier()  # the first rank to leave ends the others, so none leaves before REQUEUE is written
        raise
    except AdhereError as error:
        fail(artifact, error)
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        if shutil.disk_usage(artifact.path).free >= FULL_DISK:
            raise
        full = StageError(
            f"the disk that holds {artifact.path} is full; free some space and run the same command again ({error})"
        )
        fail(artifact, full)
        raise full from error
    finally:
        finish_trackers(code)


def fail(artifact: Artifact, error: AdhereError) -> None:
    """Write to ``FAILED`` why the stage cannot go on, unless the disk has no room even for that."""
    with suppress(StageError):
        artifact.fail(str(error))


def run(spec: StageSpec, artifact: Artifact) -> None:
    """Check the weights that the stage starts from, and run its kind, which imports what it needs.

    So an evaluation does not pay for TRL.
    """
    from adhere.train.model.quiet import quiet_libraries

    quiet_libraries()
    if RANK == 0:
        check_inputs(spec)
    kind_of(spec.kind).run(spec, artifact)


def check_inputs(spec: StageSpec) -> None:
    """Compare the weights that the stage starts from with the checksums of the stage that wrote them.

    Every byte is read, about 1.8 GB a second and core where the file cache has them; the loading that follows finds
    them there.

    Raises:
        StageError: they are damaged; the stage that wrote them is marked, so that the same command makes it again.
    """
    takes = kind_of(spec.kind).takes
    for path in dict.fromkeys(path for role, path in spec.inputs.items() if role.partition(".")[0] not in takes):
        artifact = Artifact(path)
        if (reason := artifact.damage(weights=True)) is not None:
            artifact.mark_damaged(reason)
            raise StageError(f"{path}: {reason}; run the same command again, and it makes that stage again")


def print_for_user(message: str) -> None:
    """Print a message for the user on a line of its own; the driver repeats lines that begin with ``adhere:``."""
    print("\nadhere: " + message.replace("\n", " "), file=sys.stderr, flush=True)  # a progress bar leaves its line open


if __name__ == "__main__":
    main()
