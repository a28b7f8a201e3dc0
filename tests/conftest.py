"""Training in the tests' own processes uses one patient thread: several workers of pytest share the cores."""

from __future__ import annotations

import os

# Read by OpenMP when torch is first imported. Stages get their own numbers from the launcher.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
