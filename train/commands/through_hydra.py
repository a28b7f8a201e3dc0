"""Hydra's own flags: sweeps, ``--cfg job``, ``--info``, shell completion, and the groups that ``--help`` ends with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from adhere.rewards.errors import AdhereError
from adhere.train.config.compose import check_overrides, load_plugins_of, primary_config, recipe_of, recipes_folder
from adhere.train.config.schema import Recipe

if TYPE_CHECKING:
    from omegaconf import DictConfig


def through_hydra(words: Sequence[str], act: Callable[[Recipe, list[str]], float | None]) -> int:
    """Hand ``words`` to Hydra as they are, and call ``act`` with the recipe and the overrides of each of its jobs.

    What ``act`` returns is what a sweeper that searches (Optuna's) maximises. Flags that only show something, such as
    ``--cfg job``, call it never.
    """
    overrides = [word for word in words if not word.startswith("-")]
    check_overrides(overrides)
    load_plugins_of(overrides)

    @hydra.main(config_path=str(recipes_folder()), config_name=primary_config(), version_base="1.3")
    def task(config: DictConfig) -> float | None:
        try:
            given = HydraConfig.get().overrides
            # Arms and stages are composed again, from the folders that this was found in.
            folders = [word for word in given.hydra if word.startswith("hydra.searchpath=")]
            return act(recipe_of(config), [*folders, *given.task])
        except AdhereError as error:
            # Hydra would print a traceback of its own for an exception; an exit ends the sweep with our message.
            print(f"adhere: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code) from error

    sys.argv = ["adhere", *words]
    task()
    return 0


def searches() -> bool:
    """Whether a sweeper runs the jobs that chooses the next points by what the last ones came to."""
    config = HydraConfig.get()
    basic = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    return config.mode is RunMode.MULTIRUN and config.sweeper["_target_"] != basic


def print_groups() -> None:
    """Print the configuration groups and their options."""
    try:
        through_hydra(["--help"], lambda recipe, overrides: None)
    except SystemExit as ended:  # Hydra ends the process after its help.
        if ended.code:
            raise
