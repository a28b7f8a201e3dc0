"""``adhere logs``: the newest log of a stage. No torch."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from adhere.records.artifact import Artifact
from adhere.records.state import State


def logs(
    run: str, stage: str | None = None, /, *, follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False
) -> int:
    """Print the newest log of a stage, by default of the one that runs or wrote last.

    Args:
        run: A run's folder, or its name below runs/.
        stage: A stage's label, such as grpo[composite], its name, or that of an arm: of several the one that runs or
            wrote last.
        follow: Go on until the stage ends.
    """
    from adhere.records.run import find_run
    from adhere.train.commands.words import stages_called
    from adhere.train.launch.slurm.progress import progress

    folder = find_run(run)
    stages = progress(folder)
    if stage is not None:
        found = stages_called(folder.plan().stages, stage)
        # Of an arm, what no other one shares.
        own = [one for one in found if len(one.arms) == 1] or found
        stages = [one for one in stages if one.label in {record.label for record in own}]
    running = [s for s in stages if s.state.active or s.state is State.FAILED]
    chosen = max(running or stages, key=lambda s: max(map(os.path.getmtime, _newest_attempt(s.artifact)), default=0))
    printed: dict[Path, int] = {}
    while True:
        over = not follow or chosen.artifact.done or chosen.artifact.failed.exists()
        for path in _newest_attempt(chosen.artifact):
            if path not in printed:
                print(f"== {path}", file=sys.stderr, flush=True)
            with path.open("rb") as file:
                file.seek(printed.get(path, 0))
                sys.stdout.buffer.write(file.read())
                printed[path] = file.tell()
        sys.stdout.flush()
        if over:
            break
        time.sleep(0.5)
    if not printed:
        print(f"{chosen.label} has no log yet: {chosen.state} {chosen.detail}".rstrip(), file=sys.stderr)
    return 0


def _newest_attempt(artifact: Artifact) -> list[Path]:
    """Return the log files of the newest attempt, one a node."""
    numbered: dict[int, list[Path]] = {}
    for path in sorted(artifact.logs.glob("attempt_*.log")):
        numbered.setdefault(int(path.name.split(".")[0].removeprefix("attempt_")), []).append(path)
    return numbered[max(numbered)] if numbered else []
