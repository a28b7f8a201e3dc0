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
        return sum((judge.usage for judge in self._distinct()), JudgeUsage())

    @property
    def outage(self) -> str | None:
        """Why an endpoint did not answer since :meth:`forget_outage`, or ``None``."""
        return next((judge.outage for judge in self._distinct() if judge.outage), None)

    @property
    def patience(self) -> float:
        """Seconds that training waits for an endpoint: those of the most patient judge."""
        return max((judge.config.patience for judge in self._distinct()), default=0.0)

    def forget_outage(self) -> None:
        """Start afresh: the next batch decides whether there is an outage."""
        for judge in self._distinct():
            judge.forget_outage()

    def probe(self) -> str | None:
        """Return why an endpoint does not answer now, or ``None`` when all do."""
        return next((reason for judge in self._distinct() if (reason := judge.probe())), None)

    def _distinct(self) -> list[Judge]:
        return list({id(judge): judge for judge in self._judges.values()}.values())
