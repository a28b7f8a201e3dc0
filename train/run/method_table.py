"""The table of a comparison of methods: both skills, at their best of several responses, on constraints that training
never showed, and what each method cost. It is made from the run's folder alone. No torch.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

from adhere.evaluation.ablation.analysis import JSON
from adhere.records.artifact import LOG, Artifact
from adhere.records.jsonl import read_jsonl
from adhere.records.objects import read_object
from adhere.records.plan import Plan
from adhere.records.run import RunFolder
from adhere.records.tables import read_rollout_files, rollout_files
from adhere.rewards.files import atomic_file

STEM = "methods"


def write_methods(run: RunFolder, held_out: Sequence[str]) -> None:
    """Write ``methods.md`` and ``methods.csv`` of a finished comparison of methods beside its ``ablation.json``.

    Args:
        run: the run.
        held_out: the evaluation's sources whose constraints training never showed.
    """
    if not (run.path / JSON).exists():
        return
    plan, found = run.plan(), read_object(run.path / JSON)
    joint = {d["arm"]: d for d in found["differences"]["joint"]}
    rows = []
    for name, means in found["arms"].items():
        arms = [arm for arm, (point, _) in plan.points.items() if point == name]
        measured = [m for m in plan.models if m.name in (arms or [name])]
        results = [r["metrics"] for m in measured if (r := _results(run, plan, m.key)) is not None]
        row: dict[str, Any] = {"method": name, "runs": means["runs"]}
        row |= {metric: means[metric]["mean"] for metric in ("accuracy", "hacc", "sacc", "joint")}
        difference = joint.get(name, {})
        row |= {f"joint_{key}": difference.get(key) for key in ("mean", "low_all", "high_all", "p_holm")}
        for metric in ("accuracy", "hacc"):
            best = [
                max(r["at_k"][metric]["best"].items(), key=lambda pair: int(pair[0]))
                for r in results
                if metric in r.get("at_k", {})
            ]
            row["k"] = int(best[0][0]) if best else row.get("k")
            row[f"best_{metric}"] = _mean([estimate["mean"] for _, estimate in best])
        for metric in ("hacc", "joint"):
            parts = [r["by_source"][source] for r in results for source in held_out if source in r["by_source"]]
            row[f"held_out_{metric}"] = _mean([part.get(metric, {}).get("mean") for part in parts])
        # What this point trains by itself: a stage that several points share is charged to each.
        own = [s for s in plan.stages if set(arms) & set(s.arms) and not set(plan.points) <= set(s.arms)]
        trained = [run.artifact(s) for s in own if s.kind != "evaluate"]
        spent = [artifact for artifact in trained if artifact.done]
        row["tokens"] = sum(map(generated_tokens, spent)) / max(1, len(arms)) if arms else 0
        row["seconds"] = sum(a.manifest()["seconds"] for a in spent) / max(1, len(arms)) if arms else 0
        rows.append(row)
    with atomic_file(run.path / f"{STEM}.csv") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_file(run.path / f"{STEM}.md") as out:
        out.write(_markdown(rows, found, held_out))
    print(f"table of methods: {run.path / f'{STEM}.md'}")


def generated_tokens(artifact: Artifact) -> int:
    """Return the tokens that a stage's policy generated: those of its rollouts, or of the responses that it drew."""
    files, log = rollout_files(artifact.rollouts), artifact.path / LOG
    total = sum(read_rollout_files(files)["tokens"].to_pylist()) if files else 0
    if log.exists():
        drawn = [g for row in read_jsonl(log).rows[1:] for g in row["generations"]]
        total += sum(g.get("tokens") or 0 for g in drawn)
    return int(total)


def _results(run: RunFolder, plan: Plan, key: str) -> Any:
    artifact = run.artifact(plan.stage(key))
    return read_object(artifact.results) if artifact.results.exists() else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _markdown(rows: Sequence[dict[str, Any]], found: dict[str, Any], held_out: Sequence[str]) -> str:
    k = next((row["k"] for row in rows if row.get("k")), 1)
    heading = ["method", "runs", "accuracy", "HAcc", "SAcc", "joint", "Δ joint", "p (Holm)", f"best@{k} accuracy",
               f"best@{k} HAcc", "held-out HAcc", "held-out joint", "tokens", "seconds"]  # fmt: skip
    lines = [f"| {' | '.join(heading)} |", f"| --- |{' ---: |' * (len(heading) - 1)}"]
    for row in rows:
        delta = ""
        if row["joint_mean"] is not None:
            delta = f"{100 * row['joint_mean']:+.1f} ± {50 * (row['joint_high_all'] - row['joint_low_all']):.1f}"
        cells = [row["method"].replace("|", "\\|"), str(row["runs"])]
        cells += [_percent(row[metric]) for metric in ("accuracy", "hacc", "sacc", "joint")]
        cells += [delta, "" if row["joint_p_holm"] is None else f"{row['joint_p_holm']:.2g}"]
        cells += [_percent(row[name]) for name in ("best_accuracy", "best_hacc", "held_out_hacc", "held_out_joint")]
        cells += [f"{row['tokens']:,.0f}", f"{row['seconds']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    where = f"Held-out: prompts of {', '.join(held_out)}, whose constraints training never showed." if held_out else ""
    lines += [
        "",
        f"Percent, {found['prompts']} prompts, seeds {', '.join(map(str, found['seeds']))}. Δ is against "
        f"{found['reference']}, with ± of the {found['level']:.0%} intervals that hold for all methods at once. "
        f"best@{k}: the expected best of {k} responses. Tokens are those that the policy generated to train on, "
        f"seconds those of the stages that a method does not share with all others; both are means over seeds. "
        f"{where}".rstrip(),
    ]
    return "\n".join(lines) + "\n"
