"""Whether a data set needs a judge that the rewards do not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rewards.checklist.requirement import Requirement
from rewards.config import ChecklistComponent, RewardConfig
from rewards.errors import DataError


def check_judged(config: RewardConfig, checklists: Iterable[tuple[str, Sequence[Requirement]]]) -> None:
    """Check that every checklist component has a judge where some requirement is decided by one.

    ``checklists`` are the data's, each with the name of its item.

    Raises:
        DataError: names item, requirement, and the key to set. Raised when data is loaded: at the first score the
            model would be in memory already.
    """
    lacking = [name for name, c in config.components.items() if isinstance(c, ChecklistComponent) and c.judge is None]
    if not lacking:
        return
    for item, checklist in checklists:
        for requirement in checklist:
            if _asks_judge(requirement.check.to_dict()):
                raise DataError(
                    f"{item}: requirement '{requirement.id}' is decided by a judge, and rewards.components."
                    f"{lacking[0]}.judge is not set; set its base_url and model, or leave such items out"
                )


def _asks_judge(check: Any) -> bool:
    """Whether a check, in its JSON form, is a judge's, or is composed of one that is."""
    if isinstance(check, Mapping):
        return check.get("type") == "judge" or any(_asks_judge(part) for part in check.values())
    return isinstance(check, list) and any(_asks_judge(part) for part in check)
