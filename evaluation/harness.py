"""What lm-evaluation-harness wrote, as results and responses of ours: each task is a suite.

Per-sample values become measures, so that figures have intervals over prompts, and ``adhere compare`` pairs them. What
the harness itself reports stands beside them, in ``reported``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.metrics import measure
from adhere.evaluation.run import Evaluation
from adhere.evaluation.scoring import Score, ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.prompts.item import Message, PromptItem
from adhere.records.jsonl import read_jsonl
from adhere.records.objects import read_object
from adhere.rewards.errors import DataError
from adhere.rewards.verdict import Status, unscored

PREFIX = "lm_eval/"
LEADING = ("prompt_level_strict_acc", "exact_match,strict-match", "exact_match", "acc_norm", "acc", "f1")
"""The figure that stands for a task: the first of these that it has, else its first."""


def read_harness(folder: Path, model: str, bootstrap: Bootstrap | None = None) -> dict[str, Evaluation]:
    """Return an evaluation for each task in ``folder``, the ``--output_path`` of the harness, by the task's name.

    Args:
        folder: what the harness wrote with ``--log_samples``; of several runs, the newest.
        model: what results call the model.
        bootstrap: options of the intervals.

    Raises:
        DataError: there are no results, or a task's samples are missing, damaged or without a value in [0, 1].
    """
    found = sorted(folder.rglob("results_*.json"), key=lambda file: file.name)
    if not found:
        raise DataError(f"{folder}: holds no results_*.json of lm-evaluation-harness")
    results = read_object(found[-1])
    stamp = found[-1].stem.removeprefix("results_")
    reported = results.get("results")
    if not isinstance(reported, Mapping) or not reported:
        raise DataError(f"{found[-1]}: has no results; it is not a file of lm-evaluation-harness")
    groups = {name for name, members in (results.get("group_subtasks") or {}).items() if members}
    return {
        task: _task(found[-1].with_name(f"samples_{task}_{stamp}.jsonl"), task, figures, results, model, bootstrap)
        for task, figures in reported.items()
        if task not in groups
    }


def _task(
    file: Path,
    task: str,
    figures: Mapping[str, Any],
    results: Mapping[str, Any],
    model: str,
    bootstrap: Bootstrap | None,
) -> Evaluation:
    if not file.is_file():
        raise DataError(f"{file}: there are no samples of the task {task}; run the harness with --log_samples")
    lines = read_jsonl(file)
    if lines.unreadable or not lines.rows:
        raise DataError(f"{file}: {len(lines.unreadable) or 'all'} of its lines cannot be read")

    # A document has a line for each filter: its values are measures of one response.
    values: dict[int, dict[str, tuple[float | None, ...]]] = {}
    first: dict[int, Mapping[str, Any]] = {}
    for row in lines.rows:
        if missing := [key for key in ("doc_id", "doc", "resps", "metrics") if key not in row]:
            raise DataError(f"{file}: a sample lacks {', '.join(missing)}; it is not one of lm-evaluation-harness")
        first.setdefault(row["doc_id"], row)
        name_filter = str(row.get("filter", "none"))
        for metric in row["metrics"]:
            given = row.get(metric)
            parts = given if isinstance(given, list) else [given]
            if parts and all(isinstance(part, bool | int | float) and 0 <= part <= 1 for part in parts):
                name = metric if name_filter == "none" else f"{metric},{name_filter}"
                values.setdefault(row["doc_id"], {})[name] = tuple(map(float, parts))
    if not values:
        raise DataError(f"{file}: the task {task} has no value in [0, 1] for a sample, so it has no figure here")

    rows = []
    for number, sample in first.items():
        asked, response = _prompt(sample), sample["resps"][0]
        text = response[0] if isinstance(response, list) and response else response
        item = PromptItem(
            id=f"{PREFIX}{task}/{number}",
            messages=(Message(role="user", content=asked),),
            answer=None,
            source=f"{PREFIX}{task}",
            question=asked,
        )
        nothing = unscored(Status.NOT_APPLICABLE, "decided by lm-evaluation-harness")
        score = Score(nothing, (), None, None, None, measures=values.get(number, {}))
        # Of a multiple choice the harness keeps likelihoods, not a text.
        generation = Generation(text if isinstance(text, str) else json.dumps(text), None, True)
        rows.append(ScoredRow(item, 0, generation, score))
    metrics = measure(rows, bootstrap=bootstrap)
    own = list(dict.fromkeys(name for row in rows for name in row.score.measures))
    digest = hashlib.sha256("".join(row.item.question for row in rows).encode()).hexdigest()[:16]
    return Evaluation(
        {
            "model": model,
            "suite": f"{PREFIX}{task}",
            "items": digest,
            "mode": "compat",
            "sampling": (results.get("configs") or {}).get(task, {}).get("generation_kwargs"),
            "metrics": metrics,
            "own_metrics": own,
            "paired_metrics": own,
            "headline": next((name for name in LEADING if name in own), own[0]),
            "modes": {},
            "floors": {},
            "flags": {},
            "reported": dict(figures),
            "harness": {
                "version": results.get("lm_eval_version"),
                "task_version": (results.get("versions") or {}).get(task),
                "few_shot": (results.get("n-shot") or {}).get(task),
            },
        },
        tuple(rows),
    )


def _prompt(sample: Mapping[str, Any]) -> str:
    """Return the text of a sample's first request."""
    arguments: Any = sample.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = list(arguments.values())
    while isinstance(arguments, Sequence | Mapping) and not isinstance(arguments, str) and arguments:
        arguments = next(iter(arguments.values())) if isinstance(arguments, Mapping) else arguments[0]
    return arguments if isinstance(arguments, str) else json.dumps(sample["doc"], ensure_ascii=False)
