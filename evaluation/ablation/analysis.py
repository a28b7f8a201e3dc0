"""The statistics of an ablation from its response tables: one call for the command line and the report."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from adhere.evaluation.ablation.differences import Difference, differences, family_differences
from adhere.evaluation.ablation.pareto import FrontArm, best_shares, pareto_front
from adhere.evaluation.ablation.resampling import Draws, own_intervals, replicate
from adhere.evaluation.ablation.slices import FEWEST, SliceKind, slices
from adhere.evaluation.ablation.tables import Arm, Responses, read_scores
from adhere.evaluation.ablation.words import best_sentence, cautions, front_sentence, verdict_sentence
from adhere.evaluation.metrics import METRICS, Metric
from adhere.evaluation.statistics import Bootstrap
from adhere.records.jsonl import dump
from adhere.rewards.errors import ConfigError
from adhere.rewards.files import atomic_file

JSON, CSV, MARKDOWN = "ablation.json", "ablation.csv", "ablation.md"
THOROUGH = Bootstrap(resamples=10_000)
MARGIN = 2.0
"""Points of accuracy that an arm may lose and still pass for as accurate as the reference."""

SLICE_RESAMPLES = 2000
"""Resamples for parts of the prompts: their families are large, and what is read from them are intervals."""


@dataclass(frozen=True, slots=True)
class Mean:
    """One arm's figure with its own interval; ``None`` where nothing was scored."""

    mean: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """Return it in percent, as tables show it."""
        if self.mean is None or self.low is None or self.high is None:
            return "n/a"
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class SliceDifferences:
    """Differences from the reference on one part of the prompts, corrected over all parts of its kind."""

    kind: SliceKind
    name: str
    prompts: int
    differences: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that is said of an ablation; ``differences`` are arm − reference by metric, ``margin`` is points."""

    responses: Responses
    reference: str
    bootstrap: Bootstrap
    margin: float
    means: Mapping[str, Mapping[Metric, Mean]]
    differences: Mapping[Metric, Sequence[Difference]]
    slices: Sequence[SliceDifferences]
    left_out: int
    front: Sequence[FrontArm]
    best: Mapping[str, float]
    verdicts: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "reference": self.reference,
            "arms": {
                arm: {"runs": self.responses.seeds_of(i), **{m: mean.to_dict() for m, mean in self.means[arm].items()}}
                for i, arm in enumerate(self.responses.arms)
            },
            "seeds": list(self.responses.seeds),
            "prompts": len(self.responses.prompts),
            "margin": self.margin,
            "not_less_accurate": {
                d.arm: None if d.mean is None or d.runs < 2 else d.not_lower(self.margin)
                for d in self.differences["accuracy"]
            },
            "level": self.bootstrap.level,
            "resamples": self.bootstrap.resamples,
            "differences": {metric: [d.to_dict() for d in found] for metric, found in self.differences.items()},
            "slices": [
                {
                    "kind": s.kind,
                    "name": s.name,
                    "prompts": s.prompts,
                    "differences": [d.to_dict() for d in s.differences],
                }
                for s in self.slices
            ],
            "slices_left_out": self.left_out,
            "pareto": [arm.to_dict() for arm in self.front],
            "best_on_joint": dict(self.best),
            "verdicts": list(self.verdicts),
        }


def analyse(
    arms: Sequence[Arm], reference: str | None = None, bootstrap: Bootstrap = THOROUGH, margin: float = MARGIN
) -> Analysis:
    """Compare all arms with ``reference``.

    Args:
        arms: their names and responses.
        reference: the arm that the others are compared with; ``None`` is the first one.
        bootstrap: of the intervals.
        margin: points of accuracy, above 0; a larger loss is one.

    Raises:
        DataError: no arm, no responses, or no prompt in common (`read_scores`).
        ConfigError: no arm has the reference's name.
    """
    responses = read_scores(arms)
    names = responses.arms
    reference = names[0] if reference is None else reference
    if reference not in names:
        raise ConfigError(f"reference: there is no arm '{reference}'; there are {', '.join(names)}")
    draws, runs = Draws.make(len(names), len(responses.prompts), bootstrap), responses.runs

    # Every arm by itself, then against the reference.
    means: dict[str, dict[Metric, Mean]] = {arm: {} for arm in names}
    found: dict[Metric, Sequence[Difference]] = {}
    for metric in METRICS:
        alone = replicate(responses.values[metric], draws, runs=runs)
        low, high = own_intervals(responses.values[metric], alone, bootstrap)
        for arm, *figures in zip(names, alone.means.tolist(), low.tolist(), high.tolist(), strict=True):
            means[arm][metric] = Mean(None, None, None) if math.isnan(figures[0]) else Mean(*figures)
        found[metric] = differences(names, responses.values[metric], reference, draws, runs)

    # The same on parts of the prompts, each kind of parts being one family; those too small are counted.
    everything = list(slices(responses, "joint"))
    large = [part for part in everything if len(part.places) >= FEWEST]
    fewer = draws.first(SLICE_RESAMPLES)
    parts: list[SliceDifferences] = []
    for kind in get_args(SliceKind):
        if here := [part for part in large if part.kind == kind]:
            figures_of = [(part.values, fewer.part(part.places)) for part in here]
            compared = family_differences(names, figures_of, reference, runs)
            parts += [
                SliceDifferences(kind, part.name, len(part.places), rows)
                for part, rows in zip(here, compared, strict=True)
            ]

    front = pareto_front(names, responses.values["accuracy"], responses.values["hacc"], draws, runs)
    best = dict(zip(names, best_shares(responses.values["joint"], draws, runs).tolist(), strict=True))
    verdicts = [verdict_sentence(*pair, margin) for pair in zip(found["joint"], found["accuracy"], strict=True)]
    if len(names) > 1:
        # Which arm is best is claimed, as better and worse are, only of arms with several runs.
        single = any(d.runs < 2 for d in found["joint"] if d.mean is not None)
        verdicts.append(front_sentence(front, single=single))
        if any(best.values()) and not single:
            verdicts.append(best_sentence(best))
    left_out = len(everything) - len(large)
    return Analysis(
        responses, reference, bootstrap, margin, means, found, parts, left_out, front, best, tuple(verdicts)
    )


def write(folder: Path, analysis: Analysis) -> list[Path]:
    """Write ``ablation.json``, one CSV row a difference, and the sentences with a table as markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / JSON) as out:
        out.write(dump(analysis.to_dict(), indent=2))
    rows = [
        {"kind": "all", "name": "", "metric": metric, **d.to_dict()}
        for metric, found in analysis.differences.items()
        for d in found
    ]
    for part in analysis.slices:
        metric = "met" if part.kind == "constraint" else "joint"
        rows += [{"kind": part.kind, "name": part.name, "metric": metric, **d.to_dict()} for d in part.differences]
    with atomic_file(folder / CSV) as out:
        fields = list(rows[0]) if rows else ["kind", "name", "metric"]
        writer = csv.DictWriter(out, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_file(folder / MARKDOWN) as out:
        out.write(markdown(analysis))
    return [folder / name for name in (JSON, CSV, MARKDOWN)]


def markdown(analysis: Analysis) -> str:
    """Return the verdicts, then the table of arms: means, and joint and accuracy against the reference."""
    deltas = {m: {d.arm: d for d in analysis.differences[m]} for m in ("joint", "accuracy")}
    fronts = {arm.arm: arm for arm in analysis.front}
    lines = [f"- {sentence}" for sentence in analysis.verdicts]
    heading = ["arm", "runs", "accuracy", "HAcc", "SAcc", "joint", "Δ joint", "p (Holm)", "Δ accuracy", "front"]
    lines += ["", f"| {' | '.join(heading)} |", f"| --- |{' ---: |' * (len(heading) - 1)}"]
    for i, arm in enumerate(analysis.responses.arms):
        joint = deltas["joint"].get(arm)
        cells = [
            arm.replace("|", "\\|"),
            str(analysis.responses.seeds_of(i)),
            *(str(analysis.means[arm][m]) for m in METRICS),
            str(joint or ""),
            "" if joint is None or joint.p_holm is None else f"{joint.p_holm:.2g}",
            str(deltas["accuracy"].get(arm, "")),
            f"{fronts[arm].support:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    family = len(analysis.responses.arms) - 1
    level = f"{analysis.bootstrap.level:.0%}"
    lines += [
        "",
        f"Percent, {len(analysis.responses.prompts)} prompts, seeds {', '.join(map(str, analysis.responses.seeds))}. "
        f"Brackets are {level} intervals, each alone; Δ is against {analysis.reference}, with ± of the intervals that "
        f"hold for all {family} differences at once. Front: share of resamples in which no arm beats it on both "
        f"accuracy and HAcc. No loss of accuracy is measurable where the interval excludes {analysis.margin:g} points.",
    ]
    lines += [f"\n{caution}" for caution in cautions(analysis.differences["joint"])]
    return "\n".join(lines) + "\n"
