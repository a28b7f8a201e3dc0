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
FEW_FOR = 10
"""Generations over which the alarms ``live_groups`` and ``masked`` count."""

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


def alarms(history: History, config: MonitorsConfig, rehearsed: tuple[int, int] | None = None) -> list[Alarm]:
    """Return the alarms that hold after the last entry of ``history``.

    Of a drift nothing is said before the reference and one window have passed.

    Args:
        history: the figures of each generation, with its ``step``.
        config: the thresholds.
        rehearsed: live groups, and groups in all, of a rehearsal; ``None`` where there was none.
    """
    found: list[Alarm | None] = []
    step = int(history[-1]["step"])
    last = [row["live_groups"] for row in history[-FEW_FOR:] if "live_groups" in row]
    if len(last) == FEW_FOR and (live := fmean(last)) < config.live_groups:
        text = (
            f"{live:.1f} groups a step have an advantage, over the last {FEW_FOR}: `adhere rehearse` says what may help"
        )
        found.append(Alarm("live_groups", step, live, config.live_groups, text))
    gaps = [row["masked_long"] - row["masked_short"] for row in history[-FEW_FOR:] if "masked_long" in row]
    gaps = [gap for gap in gaps if not math.isnan(gap)]
    if len(gaps) == FEW_FOR and (gap := fmean(gaps)) >= config.masked:
        text = f"long rollouts are left out of the update in {gap:.0%} more of the cases than short ones"
        found.append(Alarm("masked", step, gap, config.masked, text))
    if rehearsed is not None and len(history) == config.reference and all("groups" in row for row in history):
        share, seen = rehearsed[0] / rehearsed[1], sum(row["groups"] for row in history)
        live = sum(row["live_groups"] for row in history)
        # The difference of two binomial shares, the rehearsal's as the expectation of both.
        deviation = math.sqrt(share * (1.0 - share) * (1.0 / seen + 1.0 / rehearsed[1]))
        if live / seen < share - 2.0 * deviation - 1e-9:
            text = f"the first {seen:.0f} groups have an advantage in {live / seen:.0%}, rehearsed were {share:.0%}"
            found.append(Alarm("rehearsed", step, live / seen, share, text))
    if len(history) >= config.reference + config.window:
        drift = _Drift(history[: config.reference], history[-config.window :], config)
        found += [check(drift) for check in CHECKS.values()]
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
"""Every check of drift by its alarm's name; each looks at the reference and the window and raises its alarm or none."""
