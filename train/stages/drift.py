"""Tell drift from the figures of all generations so far: pure, so that a resumed run raises the same alarms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from types import MappingProxyType
from typing import Any

from adhere.train.config.monitors import AlarmName, MonitorsConfig

MAD_TO_STD = 1.4826
LEAST_SPREAD = 0.05
"""Smallest deviation of a length, as a part of its median, that a robust z divides by."""

History = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A drift: the figure's ``value`` over the window, its ``reference``, and what they mean."""

    name: AlarmName
    step: int
    value: float
    reference: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the form written to ``alarms.jsonl``."""
        return asdict(self)


def alarms(history: History, config: MonitorsConfig) -> list[Alarm]:
    """Return the alarms that hold after the last entry of ``history``, one entry a generation, each with its ``step``.

    Nothing is said before the reference and one window have passed.
    """
    if len(history) < config.reference + config.window:
        return []
    drift = _Drift(history[: config.reference], history[-config.window :], config)
    found = (check(drift) for check in CHECKS.values())
    return [alarm for alarm in found if alarm is not None]


@dataclass(frozen=True, slots=True)
class _Drift:
    first: History
    last: History
    config: MonitorsConfig

    def means(self, figure: str) -> tuple[float, float] | None:
        """Return the figure's mean over the reference and over the window, where both know it."""
        sides = [[row[figure] for row in rows if not math.isnan(row[figure])] for rows in (self.first, self.last)]
        return None if not all(sides) else (fmean(sides[0]), fmean(sides[1]))

    def alarm(self, name: AlarmName, before: float, now: float, text: str) -> Alarm:
        return Alarm(name, int(self.last[-1]["step"]), now, before, text)

    def rise(self, name: AlarmName, figure: str, by: float, text: str) -> Alarm | None:
        found = self.means(figure)
        if found is None or found[1] - found[0] < by:
            return None
        return self.alarm(name, *found, f"{text}: {found[0]:.2f} → {found[1]:.2f}")


def _length(drift: _Drift) -> Alarm | None:
    first, last = ([row["length"] for row in rows] for rows in (drift.first, drift.last))
    before, now = median(first), median(last)
    spread = max(MAD_TO_STD * median(abs(x - before) for x in first), LEAST_SPREAD * before, 1e-9)
    z = (now - before) / spread
    if abs(z) < drift.config.length_z:
        return None
    return drift.alarm("length", before, now, f"completion length {before:.0f} → {now:.0f} tokens (robust z {z:+.1f})")


def _repetition(drift: _Drift) -> Alarm | None:
    text = "repeated 4-grams within a response"
    return drift.rise("repetition", "repetition", drift.config.repetition, text)


def _diversity(drift: _Drift) -> Alarm | None:
    for figure, text in (("distinct", "distinct 4-grams in a generation"), ("compression", "compression ratio")):
        found = drift.means(figure)
        if found is not None and found[1] <= drift.config.diversity * found[0]:
            return drift.alarm("diversity", *found, f"{text} {found[0]:.2f} → {found[1]:.2f}: responses grow alike")
    return None


def _trade(drift: _Drift) -> Alarm | None:
    maths, rules = drift.means("accuracy"), drift.means("hacc")
    if maths is None or rules is None:
        return None
    if maths[0] - maths[1] < drift.config.trade or rules[1] - rules[0] < drift.config.trade / 2:
        return None
    text = (
        f"accuracy {maths[0]:.2f} → {maths[1]:.2f} while HAcc {rules[0]:.2f} → {rules[1]:.2f}: answers are traded away"
    )
    return drift.alarm("trade", *maths, text)


def _accuracy(drift: _Drift) -> Alarm | None:
    found = drift.means("accuracy")
    if found is None or found[0] - found[1] < drift.config.accuracy:
        return None
    return drift.alarm("accuracy", *found, f"accuracy {found[0]:.2f} → {found[1]:.2f}: a lower learning rate may help")


def _judge(drift: _Drift) -> Alarm | None:
    return drift.rise("judge", "disagreement", drift.config.judge, "judge and rules disagree more often")


def _zero_spread(drift: _Drift) -> Alarm | None:
    text = "groups that teach nothing, all rewards equal"
    return drift.rise("zero_spread", "zero_spread", drift.config.zero_spread, text)


def _clipped(drift: _Drift) -> Alarm | None:
    return drift.rise("clipped", "clipped", drift.config.clipped, "completions cut at the length limit")


def _probe_like(drift: _Drift) -> Alarm | None:
    text = "responses that praise themselves, speak as a judge or box many answers"
    return drift.rise("probe_like", "probe_like", drift.config.probe_like, text)


CHECKS: Mapping[AlarmName, Callable[[_Drift], Alarm | None]] = MappingProxyType(
    {
        "length": _length,
        "repetition": _repetition,
        "diversity": _diversity,
        "trade": _trade,
        "accuracy": _accuracy,
        "judge": _judge,
        "zero_spread": _zero_spread,
        "clipped": _clipped,
        "probe_like": _probe_like,
    }
)
"""Every monitor by its alarm's name; each looks at the reference and the window and raises its alarm or none."""
