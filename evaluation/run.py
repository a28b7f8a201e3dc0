"""One evaluation of a model on a suite: generate, score, measure, write; and two of them compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adhere.evaluation.floors import score_floors
from adhere.evaluation.generation import OVER_CONTEXT, Generator, Sampling
from adhere.evaluation.metrics import measure, summarise, unscored_counts
from adhere.evaluation.responses import ResponseLog, generate_all, to_record
from adhere.evaluation.scoring import Score, ScoredRow, score_responses
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
    progress: Callable[[int, int], None] | None = None,
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
        progress: gets, after each chunk, the number of prompts that have their responses and the number of all.
        max_error_share: largest share of responses that may be missing because of errors of the back end.

    Returns:
        results ``{model, suite, items, mode, sampling, metrics, modes, floors, flags}`` and the scored rows;
        ``modes`` has the four headline figures under both kinds of checkers, ``metrics.without_flagged`` the figures
        of the prompts that no flag names, where one names some. Prompts that do not fit into the model's
        context are skipped: they have no score, and ``flags.over_context`` has their ids.

    Raises:
        StageError: more than ``max_error_share`` of the responses are missing, or could not be scored, or of the
            prompts are over the context (one may be); what was generated is kept in ``log``.
        DataError: ``log`` belongs to another model or sampling.
        ConfigError: a requirement needs a judge and ``judge`` is ``None``; raised before anything is generated.
    """
    require_judge([item.checklist for item in suite.items], judge)
    bootstrap = bootstrap or Bootstrap()

    # Generate, or continue from the log.
    responses = ResponseLog(log, generator.name, sampling) if log else None
    asked = (*suite.items, *(suite.twins() if without_constraints else ()))
    drawn = generate_all(asked, generator, sampling, responses, chunk=chunk, progress=progress)
    generations = [generation for _, found in drawn for generation in found]
    skipped = [item.id for item, found in drawn if (found[0].error or "").startswith(OVER_CONTEXT)]
    if len(skipped) > max(1, int(max_error_share * len(drawn))) or len(skipped) == len(drawn):
        raise StageError(
            f"evaluation: {len(skipped)} of {len(drawn)} prompts are over the model's context with "
            f"evaluation.sampling.max_new_tokens={sampling.max_new_tokens} (the first: {skipped[0]}); lower it"
        )
    errors = [g.error for g in generations if g.error and not g.error.startswith(OVER_CONTEXT)]
    if errors and len(errors) > max_error_share * len(generations):
        kept = f"; finished responses are kept in {log}" if log else ""
        raise StageError(
            f"evaluation: {len(errors)} of {len(generations)} responses could not be generated "
            f"(the first: {errors[0]}){kept}"
        )

    # Score.
    pairs = [(item, generation) for item, found in drawn for generation in found]
    samples = [sample for _, found in drawn for sample in range(len(found))]
    scores = suite.kind.score(pairs, mode, engine, judge)
    scored = [
        ScoredRow(pair[0], sample, pair[1], score) for pair, sample, score in zip(pairs, samples, scores, strict=True)
    ]
    lost = []
    for row in scored:
        undecided = [verdict for verdict in (row.score.correct, *row.score.verdicts) if verdict.undecided]
        if undecided and not row.generation.error:
            lost.append(undecided[0])
    if len(lost) > max_error_share * len(scored):
        raise StageError(
            f"evaluation: {len(lost)} of {len(scored)} responses could not be scored (the first: "
            f"{lost[0].status.value}, {lost[0].detail}); the responses are kept, run the same command again when that "
            f"is mended"
        )

    # Measure, also under the other kind of checkers, and beside trivial floors.
    rows = tuple(row for row in scored if "twin_of" not in row.item.meta)
    twins = tuple(row for row in scored if "twin_of" in row.item.meta)
    modes = {}
    for other in suite.kind.modes:
        again = rows
        if other != mode:
            found = suite.kind.score([(row.item, row.generation) for row in rows], other, engine, judge)
            again = tuple(replace(row, score=score) for row, score in zip(rows, found, strict=True))
        modes[other] = summarise(again, bootstrap)
    flags = {flag: list(ids) for flag, ids in suite.flags.items()}
    faulty = {key for ids in suite.flags.values() for key in ids}
    sound = [row for row in rows if row.item.id not in faulty]
    without = {"without_flagged": summarise(sound, bootstrap)} if sound and len(sound) < len(rows) else {}
    figures = suite.kind.figures(rows, bootstrap)
    paired = list(dict.fromkeys(name for row in rows for name in row.score.measures))
    results = {
        "model": generator.name,
        "suite": suite.name,
        "items": suite.fingerprint(),
        "mode": mode,
        "sampling": sampling.to_dict(),
        "metrics": {**measure(rows, twins, bootstrap), **without, **figures},
        "own_metrics": [*paired, *figures],
        "paired_metrics": paired,
        "headline": suite.kind.headline,
        "modes": modes,
        "floors": measure_floors(suite.items, mode, bootstrap, engine, judge, suite.kind.score),
        "flags": flags | ({"over_context": skipped} if skipped else {}),
    }
    return Evaluation(results, rows, twins)


def measure_floors(
    items: Sequence[PromptItem],
    mode: Mode,
    bootstrap: Bootstrap,
    engine: Engine | None = None,
    judge: Decider | None = None,
    score: Callable[..., list[Score]] = score_responses,
) -> dict[str, dict[str, Any]]:
    """Return accuracy, HAcc, SAcc and joint of the trivial floors on ``items``, by name.

    Args:
        items: the prompt items of a suite.
        mode: the constraint checkers that decide.
        bootstrap: options of the intervals.
        engine: worker pool of the maths verifier; default: the shared one.
        judge: decides the requirements that only a judge can.
        score: how the suite scores responses.
    """
    floors = score_floors(items, mode, engine, judge, score).items()
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

    Args:
        ours: folder of a finished evaluation.
        theirs: another, of the same suite.
        metric: ``accuracy``, ``hacc``, ``sacc`` or ``joint``, or a figure of the suite that is a mean over responses.
        bootstrap: options of the interval.

    Raises:
        DataError: a folder has no ``responses.parquet``, or they share no scored prompt.
    """
    means = []
    for folder in (ours, theirs):
        rows = [row for row in read_responses(folder / TABLE) if row["twin_of"] is None]
        values = [_value(row, metric) for row in rows]
        means.append(prompt_means(values, [row["id"] for row in rows]))
    if not means[0].keys() & means[1].keys():
        raise DataError(f"{ours} and {theirs}: no prompt with a scored {metric} is in both; compare one suite")
    return (bootstrap or Bootstrap()).paired_difference(*means)


def _value(row: Mapping[str, Any], metric: str) -> float | None:
    own = (row["measures"] or {}).get(metric)
    if own is None:
        value: float | None = row["correct"]["score"] if metric == "accuracy" else row.get(metric)
        return value
    return None if None in own or not own else sum(own) / len(own)
