"""One stage in a process of its own, for a driver that runs several: ``python -m train.launch.one STAGE.YAML``."""

from __future__ import annotations

import sys
from pathlib import Path

from rewards.errors import AdhereError
from train.artifacts import Artifact
from train.config.stage import read_spec
from train.launch.local import run_stage
from train.launch.orphans import end_with_parent


def main() -> int:
    """Run the stage as the driver would; the last line of the output says why it failed."""
    end_with_parent()
    try:
        spec = read_spec(Path(sys.argv[1]))
        run_stage(Artifact(spec.artifact), spec.recipe.launcher, spec.kind, spec.label)
    except AdhereError as error:
        print(f"adhere: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
