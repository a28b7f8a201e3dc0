"""``adhere -sc query=bash``: what a shell asks for when a user presses Tab."""

from __future__ import annotations

import os
from collections.abc import Iterable

from adhere.rewards.errors import ConfigError


def print_completions(words: list[str], commands: Iterable[str], composing: Iterable[str]) -> int:
    """Answer with the commands that begin as the line in ``COMP_LINE`` does, then with Hydra's groups, options, keys.

    Args:
        words: What Hydra's shell function gives after ``-sc``: query=bash, install=bash, uninstall=bash.
        commands: The names of all commands.
        composing: Those that take Hydra's words.
    """
    if not words:
        raise ConfigError('-sc: write install=bash, as in: eval "$(adhere train -sc install=bash)"')
    program, *line = os.environ.get("COMP_LINE", "").split(" ")
    query = words[0].startswith("query=")
    if query and len(line) == 1:
        print(" ".join(name for name in commands if name.startswith(line[0])))
    elif not query or (line and line[0] in composing):
        from adhere.train.commands.through_hydra import through_hydra

        if query:
            # Hydra cannot read the command's name, nor a model that is followed by overrides.
            first = 2 if line[0] == "evaluate" and len(line) > 2 else 1
            os.environ["COMP_LINE"] = " ".join([program, *line[first:]])
        return through_hydra(["--shell-completion", *words], lambda recipe, overrides: None)
    return 0
