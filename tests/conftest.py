"""What all tests share: one patient thread, for several workers of pytest share the cores, and the order of files."""

from __future__ import annotations

import os
from collections import Counter

import pytest

# Read by OpenMP when torch is first imported. Stages get their own numbers from the launcher.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with many slow tests first: workers that take whole files then end within seconds of each other."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
