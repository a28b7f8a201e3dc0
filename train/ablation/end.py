"""The end of an ablation on a cluster, as its last job: ``python -m adhere.train.ablation.end RUN``."""

from __future__ import annotations

import sys
from pathlib import Path

from adhere.records.course import read_course
from adhere.records.run import as_run
from adhere.rewards.errors import AdhereError
from adhere.train.ablation.course import lost, write_course
from adhere.train.run.finish import finish


def main() -> int:
    """Write the statistics, the cards, and how it went; exit 1 where a stage failed."""
    try:
        run = as_run(Path(sys.argv[1]))
        course = read_course(run)
        failed, skipped = lost(run)
        write_course(run, course.rungs if course else (), failed, skipped)
        finish(run)
    except AdhereError as error:
        print(f"adhere: {error}", file=sys.stderr)
        return error.exit_code
    for label, reason in failed.items():
        print(f"adhere: failed: {label}: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
