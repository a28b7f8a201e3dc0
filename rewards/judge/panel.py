"""The judges of one composite reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adhere.rewards.judge import JudgeConfig, load_judge
from adhere.rewards.judge.usage import JudgeUsage

if TYPE_CHECKING:
    from adhere.rewards.judge.judge import Judge


class Panel:
    """One judge per configuration; components that ask for the same one share it.

    ``wanted`` maps a component's name to its judge's configuration; components without one are left out.
    """

    def __init__(self, wanted: Mapping[str, JudgeConfig]) -> None:
        self._judges: dict[str, Judge] = {}
        made: dict[str, Judge] = {}
        for name, config in wanted.items():
            key = config.model_dump_json()
            made[key] = self._judges[name] = made.get(key) or load_judge(config)

    def __len__(self) -> int:
        return len({id(judge) for judge in self._judges.values()})

    def of(self, component: str) -> Judge | None:
        """Return the judge of a component, if it has one."""
        return self._judges.get(component)

    @property
    def usage(self) -> JudgeUsage:
        """What all judges have done and spent so far."""
        return sum((judge.usage for judge in self.distinct()), JudgeUsage())

    def distinct(self) -> list[Judge]:
        """Return each judge once."""
        return list({id(judge): judge for judge in self._judges.values()}.values())
