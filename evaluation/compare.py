"""Finished evaluations side by side: paired differences suite by suite, what flipped, and how much may be luck."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from adhere.evaluation.statistics import Bootstrap, prompt_means
from adhere.records.artifact import RESULTS, TABLE
from adhere.records.objects import read_object
from adhere.records.tables import read_responses
from adhere.rewards.errors import ConfigError, DataError

FLIPS = 200_000
"""Random assignments of signs that a p-value is counted on where no exact one is at hand."""

USUAL = ("accuracy", "hacc", "sacc", "joint")
HEADLINES = ("joint", "accuracy", "hacc")
"""What stands for a suite that names no headline of its own: the first of these that has a value."""


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One model on one suite: its ``results.json``, and each metric's mean by prompt."""

    folder: Path
    model: str
    suite: str
    results: Mapping[str, Any]
    values: Mapping[str, Mapping[str, float]] = field(repr=False)
    prompts: Mapping[str, str] = field(repr=False)

    @property
    def headline(self) -> str:
        """The metric that stands for the suite in a table of several."""
        named = self.results.get("headline")
        metrics = self.results["metrics"]
        return str(named or next((m for m in HEADLINES if metrics.get(m, {}).get("n")), "accuracy"))


@dataclass(frozen=True, slots=True)
class Flip:
    """Second model minus first in one metric on the prompts that both have, as fractions.

    ``p`` is the chance of a difference at least this large, either way, if the two models were equal and each prompt's
    difference could as well have had the other sign: exact (binomial, McNemar 1947) where every prompt is won, lost or
    drawn, else counted on random signs. ``p_holm`` is the same corrected for all comparisons of the table (Holm 1979).
    ``gained`` and ``lost`` are the ids of the prompts on which the second does better and worse. ``luck`` is the
    smallest difference that the interval would tell from none.
    """

    suite: str
    metric: str
    first: str
    second: str
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    prompts: int
    luck: float
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Say in words whether it may be luck."""
        if self.p_holm >= 0.05 or self.low <= 0.0 <= self.high:
            return "may be luck"
        return "better" if self.mean > 0.0 else "worse"


@dataclass(frozen=True, slots=True)
class Table:
    """Models × suites with their headline metric, and the paired differences; ``notes`` says what was left out."""

    models: tuple[str, ...]
    suites: tuple[str, ...]
    headlines: Mapping[str, str]
    cells: Mapping[tuple[str, str], Mapping[str, Any] | None]
    differences: tuple[Flip, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "models": list(self.models),
            "suites": {suite: self.headlines[suite] for suite in self.suites},
            "cells": [{"model": m, "suite": s, "estimate": self.cells[m, s]} for m in self.models for s in self.suites],
            "differences": [asdict(flip) | {"verdict": flip.verdict} for flip in self.differences],
            "notes": list(self.notes),
        }


def compare_folders(folders: Sequence[Path], bootstrap: Bootstrap | None = None) -> Table:
    """Compare the evaluations in ``folders``: each holds a ``results.json``, or one in a folder for each suite.

    Raises:
        ConfigError: fewer than two models are named, or one folder twice.
        DataError: a folder has no finished evaluation, two of one suite differ in mode or in the text of a prompt, or
            no two models share a suite.
    """
    bootstrap = bootstrap or Bootstrap()
    if twice := [folder for folder, n in Counter(folder.resolve() for folder in folders).items() if n > 1]:
        raise ConfigError(f"{twice[0]}: is named twice; a model does not differ from itself")
    found: dict[Path, list[MeasuredModel]] = {folder: _read(folder) for folder in folders}
    every = [measured for several in found.values() for measured in several]
    names = _names(found)
    models = tuple(dict.fromkeys(names[measured.folder] for measured in every))
    if len(models) < 2:
        raise ConfigError("compare: needs two models or more; name the folder of another evaluation")
    suites = tuple(dict.fromkeys(measured.suite for measured in every))

    flips: list[Flip] = []
    notes: list[str] = []
    cells: dict[tuple[str, str], Mapping[str, Any] | None] = {(m, s): None for m in models for s in suites}
    headlines: dict[str, str] = {}
    for suite in suites:
        alike = [measured for measured in every if measured.suite == suite]
        headlines[suite] = alike[0].headline
        for measured in alike:
            cells[names[measured.folder], suite] = measured.results["metrics"].get(headlines[suite])
        lacking = [model for model in models if model not in {names[m.folder] for m in alike}]
        if lacking:
            notes.append(f"{suite}: not measured on {', '.join(lacking)}")
        for one, other in combinations(alike, 2):
            if names[one.folder] != names[other.folder]:
                flips += _differences(one, other, names, bootstrap, notes)
    if not flips:
        raise DataError(f"no two of {', '.join(models)} share a suite with a scored prompt; compare the same suites")
    return Table(models, suites, headlines, cells, tuple(_corrected(flips)), tuple(notes))


def _read(folder: Path) -> list[MeasuredModel]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the folder of a finished evaluation (adhere evaluate … to=)")
    files = [folder / RESULTS] if (folder / RESULTS).is_file() else sorted(folder.glob(f"*/{RESULTS}"))
    if not files:
        raise DataError(f"{folder}: holds no {RESULTS}; name the folder of a finished evaluation")
    measured = []
    for file in files:
        results = read_object(file)
        if missing := [key for key in ("model", "suite", "mode", "metrics") if key not in results]:
            raise DataError(f"{file}: lacks {', '.join(missing)}; it is not the result of an evaluation")
        rows = [row for row in read_responses(file.parent / TABLE) if row["twin_of"] is None]
        ids = [row["id"] for row in rows]
        own = dict.fromkeys(name for row in rows for name in row["measures"] or {})
        values = {name: prompt_means([_mean((row["measures"] or {}).get(name)) for row in rows], ids) for name in own}
        # Where a suite has figures of its own and no gold answers, HAcc and SAcc say the same as these once more.
        for name in USUAL if not own or any(row["correct"]["score"] is not None for row in rows) else ():
            given = [row["correct"]["score"] if name == "accuracy" else row[name] for row in rows]
            values[name] = prompt_means(given, ids)
        asked = {row["id"]: json.dumps(row["messages"], sort_keys=True) for row in rows}
        measured.append(
            MeasuredModel(file.parent, str(results["model"]), str(results["suite"]), results, values, asked)
        )
    return measured


def _mean(values: Sequence[float | None] | None) -> float | None:
    known = [value for value in values or () if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values or ()) else None


def _names(found: Mapping[Path, Sequence[MeasuredModel]]) -> dict[Path, str]:
    """Return what tables call the model of each folder: as its results do, and by its folder where that is not enough.

    A stage's label, such as ``ifeval[grpo]``, stands for the model in its brackets.
    """
    called = {
        measured.folder: (folder, measured.model[:-1].partition("[")[2] if measured.model.endswith("]") else "")
        for folder, several in found.items()
        for measured in several
    }
    plain = {
        measured.folder: called[measured.folder][1] or measured.model
        for several in found.values()
        for measured in several
    }
    owners: dict[str, set[Path]] = {}
    for place, name in plain.items():
        owners.setdefault(name, set()).add(called[place][0])
    return {
        place: name if len(owners[name]) == 1 else f"{called[place][0].name}: {name}" for place, name in plain.items()
    }


def _differences(
    one: MeasuredModel, other: MeasuredModel, names: Mapping[Path, str], bootstrap: Bootstrap, notes: list[str]
) -> list[Flip]:
    where = f"{one.suite}: {one.folder} and {other.folder}"
    if one.results["mode"] != other.results["mode"]:
        raise DataError(
            f"{where} were scored in the modes {one.results['mode']} and {other.results['mode']}; score both in one"
        )
    shared = [key for key in one.prompts if key in other.prompts]
    if changed := [key for key in shared if one.prompts[key] != other.prompts[key]]:
        raise DataError(f"{where} have another text for the prompt '{changed[0]}'; compare one version of the suite")
    alone = len(one.prompts.keys() ^ other.prompts.keys())
    if alone:
        notes.append(
            f"{one.suite}: {alone} prompts are only in one of {names[one.folder]} and {names[other.folder]}; they are "
            f"left out of the difference"
        )
    flips = []
    for metric in [m for m in one.values if m in other.values]:
        ours, theirs = other.values[metric], one.values[metric]
        both = sorted(ours.keys() & theirs.keys())
        estimate = bootstrap.paired_difference(ours, theirs)
        if estimate.mean is None or estimate.low is None or estimate.high is None:
            continue
        gaps = np.array([ours[key] - theirs[key] for key in both])
        flips.append(
            Flip(
                one.suite, metric, names[one.folder], names[other.folder],
                estimate.mean, estimate.low, estimate.high,
                p := sign_flip_p(gaps, bootstrap.seed), p, len(both), (estimate.high - estimate.low) / 2.0,
                tuple(key for key, gap in zip(both, gaps, strict=True) if gap > 0.0),
                tuple(key for key, gap in zip(both, gaps, strict=True) if gap < 0.0),
            )
        )  # fmt: skip
    return flips


def sign_flip_p(gaps: np.ndarray, seed: int = 0) -> float:
    """Return the two-sided p-value of no difference, if each prompt's difference could as well have the other sign.

    Args:
        gaps: (P,) the difference on each prompt.
        seed: of the random signs, which are drawn only where the sizes of the differences vary.
    """
    moved = gaps[gaps != 0.0]
    if len(moved) == 0:
        return 1.0
    size = np.abs(moved)
    if np.allclose(size, size[0]):
        wins, n = int((moved > 0.0).sum()), len(moved)
        tail = sum(math.comb(n, k) for k in range(min(wins, n - wins) + 1))
        return min(1.0, 2 * tail / 2**n)
    rng = np.random.default_rng(seed)
    observed, extreme, drawn = abs(float(moved.sum())) - 1e-9, 0, 0
    rows = max(1, 4_000_000 // len(moved))
    while drawn < FLIPS:
        signs = rng.integers(0, 2, size=(min(rows, FLIPS - drawn), len(moved))) * 2 - 1
        extreme += int((np.abs(signs @ moved) >= observed).sum())
        drawn += len(signs)
    return (extreme + 1) / (FLIPS + 1)


def _corrected(flips: Sequence[Flip]) -> list[Flip]:
    """Return the differences with the p-values of Holm's step-down over all of them."""
    order = sorted(range(len(flips)), key=lambda i: flips[i].p)
    corrected, worst = list(flips), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(flips) - rank) * flips[i].p))
        corrected[i] = Flip(**{**asdict(flips[i]), "p_holm": worst})
    return corrected
