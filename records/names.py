"""How stages, models and files are called after labels. Standard library only."""

from __future__ import annotations

import re

ONLY = "run"
"""Name of the only arm of a recipe without arms."""


def slug(label: str) -> str:
    """Return ``label`` as the name of a file or folder: ``grpo[composite]`` is ``grpo-composite``."""
    return re.sub(r"[^\w.=,+-]+", "-", label.replace("]", "")).strip("-")
