"""Shell completion: the question that the installed shell function asks, and the words it gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("adhere ev", ["evaluate"]),
        ("adhere train recipe=quick", ["recipe=quickstart"]),
        ("adhere plan recipe=quickstart grpo.group", ["grpo.group_size="]),
        ("adhere evaluate Qwen/Qwen3-0.6B suite=x strat", ["strategy="]),
        ("adhere audit recipe=quick", ["recipe=quickstart"]),
        ("adhere score ", []),
    ],
)
def test_words_that_complete_a_line(line: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", "-sc", "query=bash"],
        cwd=REPOSITORY,
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == words


@pytest.mark.slow
@pytest.mark.parametrize("command", [[], ["train"], ["ablate"]], ids=str)
def test_the_shell_function_is_printed(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", *command, "-sc", "install=bash"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "hydra_bash_completion" in done.stdout and "complete " in done.stdout
