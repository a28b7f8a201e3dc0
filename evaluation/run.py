"""One evaluation: generate, score, measure, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adhere.evaluation.floors import score_floors
from adhere.evaluation.generation import Generation, Generator, Sampling
from adhere.evaluation.metrics import measure, summarise, unscored_counts
from adhere.evaluation.responses import Progress, ResponseLog, generate_all, to_record
from adhere.evaluation.scoring import MODES, ScoredRow, score_batch
from adhere.evaluation.statistics import Bootstrap, Estimate, prompt_means
from adhere.evaluation.suites import Suite
from adhere.prompts.item import PromptItem
from adhere.records.artifact import RESULTS, TABLE
from adhere.records.jsonl import dump
from adhere.records.tables import read_responses, write_responses
from adhere.rewards.checklist import Decider, require_judge
from adhere.rewards.constraints import Mode
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError, StageError
from adhere.rewards.files import atomic_file


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one model scored on one suite: JSON-able ``results``, and the scored responses behind them."""

    results: dict[str, Any]
    rows: tuple[ScoredRow, ...]
    twins: tuple[ScoredRow, ...] = ()


def evaluate(
    suite: Suite,
    generator: Generator,
    sampling: Sampling,
    *,
    mode: Mode = "hardened",
    without_constraints: bool = False,
    bootstrap: Bootstrap | None = None,
    engine: Engine | None = None,
    judge: Decider | None = None,
    log: Path | None = None,
    chunk: int = 256,
    progress: Progress | None = None,
    max_error_share: float = 0.1,
) -> Evaluation:
    """Measure a model on a suite.

    Args:
        suite: the prompt items.
        generator: the model behind a back end.
        sampling: how responses are drawn.
        mode: the constraint checkers that decide (``compat`` agrees with MathIF's own).
        without_constraints: generate a second time without the constraint text, for the accuracy without.
        bootstrap: options of the intervals.
        engine: worker pool of the maths verifier; default: the shared one.
        judge: decides the requirements that only a judge can.
        log: ``responses.jsonl`` to resume from and append to; ``None`` keeps responses in memory only.
        chunk: prompts that are generated, and logged, at once.
        progress: told after each chunk.
        max_error_share: largest share of responses that may be missing because of errors of the back end.

    Returns:
        results ``{model, suite, items, mode, sampling, metrics, modes, floors, flags}`` and the scored rows;
        ``modes`` has the four headline figures under both kinds of checkers.

    Raises:
        StageError: more than ``max_error_share`` of the responses are missing, or could not be scored; what was
            generated is kept in ``log``.
        DataError: ``log`` belongs to another model or sampling.
        ConfigError: a requirement needs a judge and there is none; said before anything is generated.
    """
    require_judge([item.checklist for item in suite.items], judge)
    bootstrap = bootstrap or Bootstrap()
    responses = ResponseLog(log, generator.name, sampling) if log else None
    twins = suite.twins() if without_constraints else ()
    asked = (*suite.items, *twins)
    drawn = generate_all(asked, generator, sampling, responses, chunk=chunk, progress=progress)
    _check_errors(drawn, max_error_share, log)
    scored = score_all(drawn, mode, engine, judge)
    rows = tuple(row for row in scored if "twin_of" not in row.item.meta)
    plain = tuple(row for row in scored if "twin_of" in row.item.meta)
    _check_scored(scored, max_error_share)
    results = {
        "model": generator.name,
        "suite": suite.name,
        "items": suite.fingerprint(),
        "mode": mode,
        "sampling": sampling.to_dict(),
        "metrics": measure(rows, plain, bootstrap),
        "modes": {m: summarise(rows if m == mode else _rescore(rows, m, engine, judge), bootstrap) for m in MODES},
        "floors": measure_floors(suite.items, mode, bootstrap, engine, judge),
        "flags": {flag: list(ids) for flag, ids in suite.flags.items()},
    }
    return Evaluation(results, rows, plain)


def score_all(
    drawn: Sequence[tuple[PromptItem, Sequence[Generation]]],
    mode: Mode,
    engine: Engine | None = None,
    judge: Decider | None = None,
) -> list[ScoredRow]:
    """Score all generations of all items, in order."""
    flat = [(item, i, generation) for item, drawn_here in drawn for i, generation in enumerate(drawn_here)]
    scores = score_batch([(item, generation) for item, _, generation in flat], mode, engine, judge)
    return [ScoredRow(item, i, generation, s) for (item, i, generation), s in zip(flat, scores, strict=True)]


def _rescore(rows: Sequence[ScoredRow], mode: Mode, engine: Engine | None, judge: Decider | None) -> list[ScoredRow]:
    scores = score_batch([(row.item, row.generation) for row in rows], mode, engine, judge)
    return [replace(row, score=score) for row, score in zip(rows, scores, strict=True)]


def measure_floors(
    items: Sequence[PromptItem],
    mode: Mode,
    bootstrap: Bootstrap,
    engine: Engine | None = None,
    judge: Decider | None = None,
) -> dict[str, dict[str, Any]]:
    """Return accuracy, HAcc, SAcc and joint of the trivial floors on ``items``, by name."""
    floors = score_floors(items, mode, engine, judge).items()
    return {name: {**summarise(rows, bootstrap), "unscored": unscored_counts(rows)} for name, rows in floors}


def write_results(folder: Path, evaluation: Evaluation, provenance: Mapping[str, Any] | None = None) -> None:
    """Write ``responses.parquet`` and then ``results.json`` into ``folder``; each appears when it is whole.

    ``provenance`` (model revision, versions, commit, device, …) is the caller's, and is kept as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_responses(folder / TABLE, [to_record(row) for row in (*evaluation.rows, *evaluation.twins)])
    with atomic_file(folder / RESULTS) as out:
        out.write(dump({**evaluation.results, "provenance": dict(provenance or {})}, indent=2))


def compare(ours: Path, theirs: Path, metric: str = "joint", bootstrap: Bootstrap | None = None) -> Estimate:
    """Return the paired difference ours − theirs of a metric on the prompts that two result folders share.

    ``metric`` is ``accuracy``, ``hacc``, ``sacc`` or ``joint``.

    Raises:
        DataError: a folder has no ``responses.parquet``, or they share no scored prompt.
    """
    bootstrap = bootstrap or Bootstrap()
    means = [_prompt_means(read_responses(folder / TABLE), metric) for folder in (ours, theirs)]
    if not means[0].keys() & means[1].keys():
        raise DataError(f"{ours} and {theirs}: no prompt with a scored {metric} is in both; compare one suite")
    return bootstrap.paired_difference(*means)


def _prompt_means(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    chosen = [row for row in rows if row["twin_of"] is None]
    values = [row["correct"]["score"] if metric == "accuracy" else row[metric] for row in chosen]
    return prompt_means(values, [row["id"] for row in chosen])


def _check_scored(rows: Sequence[ScoredRow], allowed: float) -> None:
    lost = [
        verdict
        for row in rows
        if not row.generation.error
        for verdict in [next((v for v in (row.score.correct, *row.score.verdicts) if v.undecided), None)]
        if verdict is not None
    ]
    if len(lost) > allowed * len(rows):
        raise StageError(
            f"evaluation: {len(lost)} of {len(rows)} responses could not be scored (the first: {lost[0].status.value}, "
            f"{lost[0].detail}); the responses are kept, run the same command again when that is mended"
        )


def _check_errors(drawn: Sequence[tuple[PromptItem, Sequence[Generation]]], allowed: float, log: Path | None) -> None:
    generations = [generation for _, generations in drawn for generation in generations]
    errors = [generation.error for generation in generations if generation.error]
    if errors and len(errors) > allowed * len(generations):
        kept = f"; finished responses are kept in {log}" if log else ""
        raise StageError(
            f"evaluation: {len(errors)} of {len(generations)} responses could not be generated "
            f"(the first: {errors[0]}){kept}"
        )
