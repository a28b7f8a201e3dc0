"""What a rehearsal says: whether the reward teaches, and the three changes that would help most, as overrides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adhere.evaluation.rehearsal.alternatives import Alternative, batch_for
from adhere.evaluation.rehearsal.estimates import dead_step, spread_share
from adhere.evaluation.rehearsal.figures import Rehearsal

Level = Literal["teaches", "weak", "does not teach"]

CHANGES = 3
CUT = 0.2
"""Share of cut completions from which their length is a fault."""

FEW_LIVE = 0.5
"""Share of live groups below which updates are better off as long as their evidence."""

LEAST = (0.05, 0.2)
DEAD = (0.5, 0.05)
SHARE = (0.02, 0.1)
"""Bounds of ``does not teach`` and of ``weak``: on the share of groups in which the component that varies least varies,
on the share of steps without a gradient, and on the smallest share of the advantage."""


@dataclass(frozen=True, slots=True)
class Change:
    """Overrides to copy, and what they would do on these groups."""

    overrides: tuple[str, ...]
    effect: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"overrides": list(self.overrides), "effect": self.effect}


@dataclass(frozen=True, slots=True)
class RehearsalVerdict:
    """The judgement on a rehearsal: a level, one sentence for it, and up to three changes, the best first."""

    level: Level
    sentence: str
    changes: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "level": self.level, "sentence": self.sentence, "changes": [change.to_dict() for change in self.changes],
        }  # fmt: skip


def judge_rehearsal(
    found: Rehearsal,
    others: Sequence[Alternative],
    *,
    max_completion_length: int,
    ids: Sequence[str] | None,
    wanted: float | None = None,
    follow: Sequence[str] = (),
    ordered: bool = False,
    compliance: float | None = None,
) -> RehearsalVerdict:
    """Return the verdict.

    Changes are ranked by what they add to three figures in [0, 1]: the share of groups in which the least varying
    component varies, the smallest share of the advantage as a part of an equal one, and the share of steps with a
    gradient. Paying wrong answers that obey, and completions beyond the recipe's, count against a change.

    Args:
        found: the rehearsal.
        others: its alternatives, the recipe as it is first.
        max_completion_length: ``grpo.max_completion_length``.
        ids: the kinds of constraints that the recipe's data draws; ``None`` where it draws none.
        wanted: live groups that a step should have; ``None`` wants no number. With fewer the verdict is weak at best.
        follow: the overrides, not set yet, by which updates follow the share of live groups.
        ordered: whether the recipe chooses its prompts by measured rates already.
        compliance: share of constrained SFT targets that obey, in [0, 1]; ``None`` where no SFT stage comes before.
    """
    base = others[0]
    figures = found.component_figures()
    weighted = found.weighted
    least = min(weighted, key=lambda name: figures[name]["spread_gated"])
    smallest = min((s for n in weighted if not math.isnan(s := base.shares[n])), default=0.0)
    cut = 1.0 - float(found.finished.mean())

    none, weak = (
        base.least < LEAST[bound] or base.dead > DEAD[bound] or smallest < SHARE[bound] or base.live == 0.0
        for bound in (0, 1)
    )
    a_step = base.live * found.prompts
    batch, short = (None, False) if wanted is None else (batch_for(found, wanted), a_step < wanted)
    level: Level = "does not teach" if none or cut > 1.0 - CUT else "weak" if weak or short else "teaches"

    figure, share = figures[least], base.shares[least]
    said = [f"{found.live} of {found.groups} groups have an advantage"]
    if cut > CUT:
        said.insert(0, f"{cut:.0%} of the completions were cut at {max_completion_length} tokens")
    gate = f" after its gate ({figure['spread']:.0%} before)" if found.config.gate_of(least) is not None else ""
    made = "" if math.isnan(share) or len(weighted) == 1 else f", and makes {share:.0%} of the advantage"
    said.append(f"{least} varies in {figure['spread_gated']:.0%} of the groups{gate}{made}")
    said.append(f"{base.dead:.1%} of steps of {found.prompts} prompts would have no gradient")
    if short:
        nowhere = "" if batch is not None else ", which no batch is expected to have"
        said.append(f"a step would have {a_step:.3g} live groups of the {wanted:g} wanted{nowhere}")
    states = {kind: figure["state"] for kind, figure in found.kind_figures().items()}
    hopeless = [kind for kind, state in states.items() if state == "hopeless"]
    if hopeless:
        said.append(f"never met: {', '.join(hopeless)}")

    ranked: list[tuple[float, Change]] = []
    if cut > CUT:
        effect = f"{cut:.0%} of the completions were cut, which earns little and teaches nothing about the rest"
        ranked.append((2.0 * cut, Change((f"grpo.max_completion_length={2 * max_completion_length}",), effect)))
    start = _worth(base, weighted)
    for other in others[1:]:
        gain = _worth(other, weighted) - start
        helps = gain - 0.15 * math.log2(base.cost / other.cost)  # cheaper alone is no help
        if min(gain, helps) > 0.02:
            effect, overrides = _effect(base, other, least), other.overrides
            if overrides[0].endswith(".gate=null") and (other.paid or 0.0) > 0.0:
                # Ungated to the end it would teach to be wrong; at first it teaches what the gate can then select.
                overrides = (f"{overrides[0].removesuffix('=null')}_from=0.5",)
                effect = f"for the first half of training {effect}"
            ranked.append((gain, Change(overrides, effect)))
    if batch is not None and batch[0].cost != 1.0:
        effect = f"{batch[0].name}: expected live groups a step {a_step:.3g} → {batch[1]:.3g}, {wanted:g} are wanted; "
        effect += f"{batch[0].cost:.3g} times the completions"
        ranked.append((2.0 if short else 0.05, Change(batch[0].overrides, effect)))
    if follow and 0.0 < base.live < FEW_LIVE:
        effect = f"updates are shorter by the {1.0 - base.live:.0%} of the groups that have no advantage"
        ranked.append(((FEW_LIVE - base.live) / 2.0, Change(tuple(follow), effect)))

    asked = sum(figure["rollouts"] for figure in found.kind_figures().values())
    never = sum(figure["rollouts"] for figure in found.kind_figures().values() if figure["state"] == "hopeless")
    if compliance is not None and compliance < 1.0 and never > asked / 2:
        effect = f"{never / asked:.0%} of what is asked for is never met, and GRPO cannot reward what is never tried: "
        effect += f"more targets of SFT obey ({compliance:.0%} now)"
        obeying = f"data.targets.compliance={max(0.5, min(1.0, 2.0 * compliance)):g}"
        ranked.append((never / asked, Change((obeying,), effect)))

    # Without the kinds that cannot teach: for good, or as long as they cannot.
    keep = [kind for kind in ids or () if states.get(kind, "learnable") == "learnable"]
    every = max(1, found.total // 10)
    of_data = [kind for kind in ids or () if kind not in keep]
    ways: list[tuple[list[str], str, tuple[str, ...]]] = [
        (of_data if keep else [], "leaves out {}, never or always met", (f"data.constraints.ids=[{','.join(keep)}]",)),
        (
            [] if ordered else [kind for kind, state in states.items() if state != "learnable"],
            f"takes few prompts with {{}} while never or always met, and measures again every {every} steps",
            (f"grpo.curriculum.every={every}", "grpo.curriculum.hopeless=out"),
        ),
    ]
    for drop, does, overrides in ways:
        kept_G = found.without(drop)
        if not drop or not kept_G.any():
            continue
        rest = min(spread_share(found.gated(name)[kept_G].tolist()) for name in weighted)
        live = int(found.found.live[kept_G].sum())
        share_live = live / int(kept_G.sum())
        dead = dead_step(live, int(kept_G.sum()), found.prompts)
        gain = rest - base.least + base.dead - dead
        effect = (
            f"{does.format(', '.join(drop))}: among the {int(kept_G.sum())} groups without, "
            f"{share_live:.0%} are live (of all {base.live:.0%}), and {least} varies in {rest:.0%} (of all "
            f"{base.least:.0%})"
        )
        if gain > 0.0:
            ranked.append((gain, Change(overrides, effect)))
    best: dict[str, Change] = {}
    for _, change in sorted(ranked, key=lambda pair: -pair[0]):
        key = change.overrides[0].partition("=")[0]
        best.setdefault("weight" if key.endswith(".weight") else key, change)  # one value a key, one ratio of weights
    sentence = "; ".join(said) + "."
    return RehearsalVerdict(level, f"{level}: {sentence}", tuple(list(best.values())[:CHANGES]))


def _worth(other: Alternative, weighted: Sequence[str]) -> float:
    shares = [0.0 if math.isnan(other.shares[name]) else other.shares[name] for name in weighted]
    paid = max(0.0, other.paid or 0.0)  # a wrong answer that obeys is not to be reinforced
    equal = max(0.0, min(shares) * len(shares))
    return other.least + equal + (1.0 - other.dead) - 0.5 * paid - 0.15 * math.log2(other.cost)


def _effect(base: Alternative, other: Alternative, least: str) -> str:
    parts = []
    if abs(other.live - base.live) >= 0.005:
        parts.append(f"live groups {base.live:.0%} → {other.live:.0%}")
    if abs(other.dead - base.dead) >= 0.001:
        parts.append(f"steps without gradient {base.dead:.1%} → {other.dead:.1%}")
    if abs(other.least - base.least) >= 0.005:
        parts.append(f"{least} varies in {base.least:.0%} → {other.least:.0%} of the groups")
    shares = [alternative.shares[least] for alternative in (base, other)]
    if not any(map(math.isnan, shares)) and abs(shares[1] - shares[0]) >= 0.01:
        parts.append(f"{least}'s share of the advantage {shares[0]:.0%} → {shares[1]:.0%}")
    if other.paid is not None and other.paid > 0.0 and (base.paid or 0.0) <= 0.0:
        parts.append(f"at the price of paying wrong answers that obey (mean advantage {other.paid:+.2f})")
    if other.cost != 1.0:
        parts.append(f"{other.cost:g} times the completions a step")
    return f"{other.name}: {', '.join(parts)}"
