"""Whether a data set needs a judge that the rewards do not have."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adhere.rewards.checklist.requirement import Requirement
from adhere.rewards.components import ChecklistComponent
from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import DataError


def check_judged(config: RewardConfig, checklists: Collection[tuple[str, Sequence[Requirement]]]) -> None:
    """Check that every checklist component has a judge where some requirement is decided by one.

    ``checklists`` are the data's, each with the name of its item.

    Raises:
        DataError: names item, requirement, and the key to set. Raised when data is loaded: at the first score the
            model would be in memory already.
    """
    lacking = [(n, c) for n, c in config.components.items() if isinstance(c, ChecklistComponent) and c.judge is None]
    for name, component in lacking:
        for item, checklist in checklists:
            asked = next((r.id for r in checklist if r.needs_judge or component.scoring == "implicit"), None)
            if asked is not None:
                raise DataError(
                    f"{item}: requirement '{asked}' is decided by a judge, and rewards.components.{name}.judge is not "
                    f"set; set its base_url and model, or leave such items out"
                )
