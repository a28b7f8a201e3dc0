"""``adhere export``: a run's models and responses in another tool's form."""

from __future__ import annotations

from pathlib import Path

from adhere.evaluation.export import Format


def export(run: Path, /, *, format: Format, to: Path | None = None) -> int:
    """Write what MathIF's scripts, lm-eval or the hub take.

    Args:
        run: A run's folder, for example runs/latest.
        format: The form of the files.
        to: Folder to write; default: RUN/export/FORMAT.
    """
    from adhere.train.run.export import export_run

    for path in export_run(run, format, to):
        print(path)
    return 0
