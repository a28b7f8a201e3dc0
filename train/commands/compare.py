"""``adhere compare``: finished evaluations side by side. No model and no torch."""

from __future__ import annotations

from pathlib import Path

from adhere.rewards.errors import ConfigError


def compare(*folders: Path, to: Path | None = None, bootstrap: int = 2000) -> int:
    """Compare finished evaluations, suite by suite and prompt by prompt.

    Args:
        folders: Two or more folders that adhere evaluate … to=FOLDER wrote, or folders of such folders.
        to: Folder for the tables: Markdown, LaTeX, CSV, HTML and JSON.
        bootstrap: Resamples of the intervals.
    """
    from adhere.evaluation.compare import compare_folders
    from adhere.evaluation.compare_tables import markdown, write_comparison_files
    from adhere.evaluation.statistics import Bootstrap

    if bootstrap < 100:
        raise ConfigError(f"bootstrap: {bootstrap} resamples make no interval; use 100 or more")
    table = compare_folders(folders, Bootstrap(resamples=bootstrap))
    print(markdown(table), end="")
    if to is not None:
        print(f"tables: {', '.join(str(path) for path in write_comparison_files(to, table))}")
    return 0
