"""One stage as one process of several on a machine, started by the launcher with the path of its ``stage.yaml``."""

from __future__ import annotations

import sys
from pathlib import Path

from adhere.records.artifact import Artifact
from adhere.rewards.errors import AdhereError
from adhere.train.config.stage import read_spec
from adhere.train.launch.local.stage import run_stage
from adhere.train.launch.orphans import end_with_parent


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
