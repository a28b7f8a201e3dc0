"""Hydra's ``hydra/launcher=adhere_slurm``: all points of a sweep become the arms of one run, which share their stages.

With ``launcher=slurm`` the run is submitted and the command returns; with ``launcher=local`` it runs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf, open_dict

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


class SweepLauncher(Launcher):
    """Hands the points of a sweep to the command as one configuration with arms."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra's sweeper hands over."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the command once for all points, and return one result a point."""
        setup_globals()
        common, points = split_points([list(filter_overrides(overrides)) for overrides in job_overrides])
        without = [o for o in common if o.partition("=")[0] != "~arms"] if len(points) > 1 else common
        config = self._context.config_loader.load_sweep_config(self._config, without)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(initial_job_idx), initial_job_idx
            if len(points) > 1:
                config.arms = cross(points, {} if without != common else OmegaConf.to_container(config.arms))
        done = run_job(
            hydra_context=self._context,
            task_function=self._task,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
        )
        return [done for _ in job_overrides]


def split_points(points: Sequence[Sequence[str]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the overrides that all points have, and the others by a short name of each point (``weight=0,seed=1``)."""
    common = [override for override in points[0] if all(override in point for point in points)]
    own = [[override for override in point if override not in common] for point in points]
    keys = {override.partition("=")[0] for point in own for override in point}
    short = {key: key.rpartition(".")[2] for key in keys}
    if len(set(short.values())) < len(keys):
        short = {key: key for key in keys}
    names = [",".join(short[o.partition("=")[0]] + "=" + o.partition("=")[2] for o in point) for point in own]
    return common, dict(zip(names, own, strict=True))


def cross(points: dict[str, list[str]], arms: Any) -> dict[str, list[str]]:
    """Return every point for every arm that the recipe has itself; an arm's own overrides come last."""
    if not arms:
        return points
    return {f"{arm},{name}": [*point, *extra] for name, point in points.items() for arm, extra in arms.items()}
