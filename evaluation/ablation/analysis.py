"""The statistics of an ablation from its response tables: one call for the command line and the report."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from adhere.evaluation.ablation.differences import Difference, differences, family_differences
from adhere.evaluation.ablation.pareto import FrontArm, best_shares, pareto_front
from adhere.evaluation.ablation.resampling import Draws, replicate
from adhere.evaluation.ablation.slices import FEWEST, Slice, SliceKind, slices
from adhere.evaluation.ablation.tables import Arm, Responses, read_responses
from adhere.evaluation.ablation.words import ONE_SEED, best_sentence, front_sentence, verdict
from adhere.evaluation.metrics import METRICS, Metric
from adhere.records.jsonl import dump
from adhere.rewards.errors import ConfigError
from adhere.rewards.files import atomic_file

JSON, CSV, MARKDOWN = "ablation.json", "ablation.csv", "ablation.md"
SLICE_RESAMPLES = 2000
"""Resamples for parts of the prompts: their families are large, and what is read from them are intervals."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the statistics: draws, mass inside an interval, seed of the draws."""

    resamples: int = 10_000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Mean:
    """One arm's figure with its interval, taken alone; ``None`` where nothing was scored."""

    mean: float | None
    low: float | None
    high: float | None

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
    """Everything that is said of an ablation; ``differences`` are arm − reference by metric."""

    responses: Responses
    reference: str
    options: Options
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
            "level": self.options.level,
            "resamples": self.options.resamples,
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


def analyse(arms: Sequence[Arm], reference: str | None = None, options: Options | None = None) -> Analysis:
    """Compare all arms with ``reference``, the first one by default.

    Raises:
        DataError: no arm, no responses, or no prompt in common (`read_responses`).
        ConfigError: no arm has the reference's name.
    """
    options = options or Options()
    responses = read_responses(arms)
    names = responses.arms
    reference = names[0] if reference is None else reference
    if reference not in names:
        raise ConfigError(f"reference: there is no arm '{reference}'; there are {', '.join(names)}")
    draws = Draws.make(len(names), len(responses.prompts), options.resamples, options.seed)
    found: dict[Metric, Sequence[Difference]] = {
        metric: differences(names, responses.values[metric], reference, draws, options.level) for metric in METRICS
    }
    parts, left_out = _slices(responses, reference, draws.first(SLICE_RESAMPLES), options)
    front = pareto_front(names, responses.values["accuracy"], responses.values["hacc"], draws, options.level)
    best = dict(zip(names, best_shares(responses.values["joint"], draws).tolist(), strict=True))
    verdicts = [verdict(*pair) for pair in zip(found["joint"], found["accuracy"], strict=True)]
    if len(names) > 1:
        verdicts += [front_sentence(front), best_sentence(best)]
    means = _means(responses, draws, options)
    return Analysis(responses, reference, options, means, found, parts, left_out, front, best, tuple(verdicts))


def _means(responses: Responses, draws: Draws, options: Options) -> dict[str, dict[Metric, Mean]]:
    tail = (1.0 - options.level) / 2.0
    table: dict[str, dict[Metric, Mean]] = {arm: {} for arm in responses.arms}
    for metric in METRICS:
        found = replicate(responses.values[metric], draws)
        low, high = np.clip(np.quantile(found.draws, [tail, 1.0 - tail], axis=0), 0.0, 1.0)
        for i, arm in enumerate(responses.arms):
            figures = (float(found.means[i]), float(low[i]), float(high[i]))
            table[arm][metric] = Mean(None, None, None) if math.isnan(figures[0]) else Mean(*figures)
    return table


def _slices(responses: Responses, reference: str, draws: Draws, options: Options) -> tuple[list[SliceDifferences], int]:
    """Compare the arms on parts of the prompts, each kind of parts being one family, and count those too small."""
    everything = list(slices(responses, "joint"))
    large = [part for part in everything if len(part.places) >= FEWEST]
    found = []
    for kind in get_args(SliceKind):
        here: list[Slice] = [part for part in large if part.kind == kind]
        if not here:
            continue
        compared = family_differences(
            responses.arms, [(part.values, draws.part(part.places)) for part in here], reference, options.level
        )
        found += [
            SliceDifferences(kind, part.name, len(part.places), rows) for part, rows in zip(here, compared, strict=True)
        ]
    return found, len(everything) - len(large)


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
            *(_cell(analysis.means[arm][m]) for m in METRICS),
            _delta(joint),
            "" if joint is None or joint.p_holm is None else f"{joint.p_holm:.2g}",
            _delta(deltas["accuracy"].get(arm)),
            f"{fronts[arm].support:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    family = len(analysis.responses.arms) - 1
    level = f"{analysis.options.level:.0%}"
    lines += [
        "",
        f"Percent, {len(analysis.responses.prompts)} prompts, seeds {', '.join(map(str, analysis.responses.seeds))}. "
        f"Brackets are {level} intervals, each alone; Δ is against {analysis.reference}, with ± of the intervals that "
        f"hold for all {family} differences at once. Front: share of resamples in which no arm beats it on both "
        f"accuracy and HAcc.",
    ]
    if any(d.runs < 2 for d in analysis.differences["joint"]):
        lines.append(f"\n{ONE_SEED[0].upper()}{ONE_SEED[1:]}.")
    return "\n".join(lines) + "\n"


def _cell(mean: Mean) -> str:
    if mean.mean is None or mean.low is None or mean.high is None:
        return "n/a"
    return f"{100 * mean.mean:.1f} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"


def _delta(found: Difference | None) -> str:
    if found is None:
        return ""
    return "n/a" if found.mean is None else f"{100 * found.mean:+.1f} ± {100 * found.half:.1f}"
