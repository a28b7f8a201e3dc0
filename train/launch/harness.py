"""Starts lm-evaluation-harness as a program of its own environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run_harness(command: Sequence[str], log: Path) -> int:
    """Run the harness's command line, write what it prints to ``log``, and return its exit code.

    The harness has packages of its own, so this process's PYTHONPATH and VIRTUAL_ENV are not passed on.
    """
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=environment, check=False)
    return done.returncode
