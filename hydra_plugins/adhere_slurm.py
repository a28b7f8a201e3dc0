"""Hydra takes launchers only from this package: the one that is chosen by ``hydra/launcher=adhere_slurm``."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from adhere.train.launch.slurm.sweep import SweepLauncher


class AdhereSlurmLauncher(SweepLauncher):
    """Runs all points of a sweep as the arms of one run."""


TARGET = {"_target_": "hydra_plugins.adhere_slurm.AdhereSlurmLauncher"}
"""How and where stages run is under ``launcher`` in the recipe; Hydra needs no more than the class."""

ConfigStore.instance().store(group="hydra/launcher", name="adhere_slurm", node=TARGET, provider="adhere")
