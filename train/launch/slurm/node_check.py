"""Look, on a node of a job, whether this Python has what a stage imports and sees the node's GPUs.

Run by ``node.sh`` as ``python -m adhere.train.launch.slurm.node_check --gpus N PACKAGE...``, in the container where
there is one, before anything starts. Standard library only: what is missing here is what it is to find.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

OK, NODE, PROFILE = 0, 64, 78
"""Exit codes: the node's own fault, or one that every node would have (sysexits' EX_CONFIG)."""

NEEDED = ("torch", "transformers", "accelerate", "trl", "peft", "datasets", "pydantic", "yaml", "pyarrow", "httpx")
"""What every worker imports, besides what its stage asks for."""

OLDEST = (3, 11)


def main() -> int:
    """Print one line, and return whose fault it is."""
    parser = argparse.ArgumentParser(prog="python -m adhere.train.launch.slurm.node_check")
    parser.add_argument("packages", nargs="*")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that the job has on this node")
    parser.add_argument("--must", action="store_true", help="launcher.device=cuda: a torch without GPUs is an error")
    given = parser.parse_args()
    if sys.version_info < OLDEST:
        print(f"{sys.executable} is Python {sys.version.split()[0]}, adhere needs {'.'.join(map(str, OLDEST))}")
        return PROFILE
    missing = [name for name in dict.fromkeys((*NEEDED, *given.packages)) if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{sys.executable} has no {', '.join(missing)}: install it there, or correct python, container or srun")
        return PROFILE
    if given.gpus == 0:
        return OK

    import torch

    kinds = (torch.cuda, getattr(torch, "xpu", torch.cuda))
    found = max(kind.device_count() for kind in kinds)
    built = torch.version.cuda is not None or torch.version.hip is not None or torch.xpu.is_available()
    if not built and not given.must:
        print(f"note: {sys.executable} has a torch {torch.__version__} without GPUs, the stage runs on the CPU")
        return OK
    if not built:
        print(f"{sys.executable} has a torch {torch.__version__} without GPUs, launcher.device is cuda")
        return PROFILE
    if found < given.gpus:
        print(f"torch sees {found} GPUs, the job has {given.gpus}: is the driver up, and --nv or --rocm in container?")
        return NODE
    return OK


if __name__ == "__main__":
    sys.exit(main())
