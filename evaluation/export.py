"""Export of a finished evaluation to the forms that other tools take."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from adhere.evaluation.statistics import mean_of_scored
from adhere.records.artifact import NOT_THE_MODEL, RESULTS, TABLE
from adhere.records.jsonl import dump
from adhere.records.objects import read_object
from adhere.records.tables import read_responses
from adhere.rewards.errors import ConfigError, DataError, nearest
from adhere.rewards.files import atomic_file

Format = Literal["mathif", "lm-eval", "hf"]
MODEL_FILES = ("config.json", "adapter_config.json")
LM_EVAL_METRICS = {"accuracy": "exact_match", "hacc": "hacc", "sacc": "sacc", "joint": "joint"}


def export(run: Path, fmt: Format, dst: Path, *, model: Path | None = None) -> list[Path]:
    """Write the results in folder ``run`` as ``fmt`` below ``dst``; return the files written.

    ``mathif``: one JSONL a subset with MathIF's own fields and ``output``, which its evaluation script reads;
    answers to the twins go to ``<subset>_noconstraint.jsonl``, the name by which that script tells them.
    ``lm-eval``: ``results_adhere.json`` and ``samples_<suite>_adhere.jsonl`` as lm-evaluation-harness 0.4
    logs them. ``hf``: the ``model`` folder with its card, and the results beside it, ready to upload.

    Args:
        run: folder of a finished evaluation.
        fmt: the format.
        dst: folder to write into.
        model: folder of the weights, for ``hf``.

    Raises:
        ConfigError: the format is unknown, ``hf`` lacks ``model``, or ``dst`` is not empty for ``hf``.
        DataError: ``run`` is not the folder of a finished evaluation, or ``mathif`` gets responses to other
            prompts.
    """
    if fmt not in get_args(Format):
        raise ConfigError(f"format: '{fmt}' is not known{nearest(fmt, get_args(Format))}")
    if fmt == "hf":
        return export_model(run, model, dst)
    file = run / RESULTS
    if not file.is_file():
        raise DataError(f"{run}: has no {RESULTS}; name the folder of a finished evaluation")
    results, rows = read_object(file), read_responses(run / TABLE)
    return export_mathif(rows, run, dst) if fmt == "mathif" else export_lm_eval(results, rows, dst)


def export_mathif(rows: Sequence[Mapping[str, Any]], run: Path, dst: Path) -> list[Path]:
    """Write responses as MathIF's evaluation script reads them; ``run`` is named in errors."""
    if not rows or any(row["mathif"] is None for row in rows):
        raise DataError(f"{run}: holds responses to other prompts than MathIF's; evaluate with suite=mathif first")
    files: dict[str, list[tuple[int, int, dict[str, Any]]]] = {}
    for row in rows:
        subset, _, number = (row["twin_of"] or row["id"]).rpartition(":")
        sample = f"_sample{row['sample']}" if row["sample"] else ""
        name = subset + ("_noconstraint" if row["twin_of"] else "") + sample
        files.setdefault(name, []).append((int(number), row["sample"], {**row["mathif"], "output": row["response"]}))
    written: list[Path] = []
    for name, found in files.items():
        written.append(dst / f"{name}.jsonl")
        with atomic_file(written[-1]) as out:
            out.writelines(dump(row) for _, _, row in sorted(found, key=lambda entry: entry[:2]))
    return written


def export_lm_eval(results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], dst: Path) -> list[Path]:
    """Write results and samples as lm-evaluation-harness logs them."""
    task = f"adhere_{results['suite']}"
    chosen = [row for row in rows if row["twin_of"] is None]
    samples_file, results_file = dst / f"samples_{task}_adhere.jsonl", dst / "results_adhere.json"
    numbers = {key: i for i, key in enumerate(dict.fromkeys(row["id"] for row in chosen))}
    by_prompt: dict[str, list[Mapping[str, Any]]] = {}
    for row in chosen:
        by_prompt.setdefault(row["id"], []).append(row)
    with atomic_file(samples_file) as out:
        out.writelines(dump(_lm_eval_sample(numbers[key], found)) for key, found in by_prompt.items())
    with atomic_file(results_file) as out:
        out.write(dump(_lm_eval_results(task, results, len(numbers)), indent=2))
    return [results_file, samples_file]


def _lm_eval_sample(number: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    doc = {key: first[key] for key in ("id", "source", "question", "answer", "constraints")}
    prompt, target = json.dumps(first["messages"], ensure_ascii=False), str(first["answer"])
    values = {
        theirs: mean_of_scored(row["correct"]["score"] if ours == "accuracy" else row[ours] for row in rows)
        for ours, theirs in LM_EVAL_METRICS.items()
    }
    return {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}},
        "resps": [[row["response"] for row in rows]],
        "filtered_resps": [row["response"] for row in rows],
        "filter": "none",
        "metrics": list(values),
        "doc_hash": _hash(json.dumps(doc, ensure_ascii=False, sort_keys=True)),
        "prompt_hash": _hash(prompt),
        "target_hash": _hash(target),
        **values,
    }


def _lm_eval_results(task: str, results: Mapping[str, Any], prompts: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"alias": task}
    for ours, theirs in LM_EVAL_METRICS.items():
        found = results["metrics"][ours]
        if found["mean"] is None:
            continue
        figures[f"{theirs},none"] = found["mean"]
        # the harness reports a standard error; a 95 % interval is 2 × 1.96 of them wide
        figures[f"{theirs}_stderr,none"] = (found["high"] - found["low"]) / 3.92
    sampling = results["sampling"]
    return {
        "results": {task: figures},
        "group_subtasks": {task: []},
        "configs": {task: {"task": task, "output_type": "generate_until", "generation_kwargs": sampling}},
        "versions": {task: 1},
        "n-shot": {task: 0},
        "higher_is_better": {task: dict.fromkeys(LM_EVAL_METRICS.values(), True)},
        "n-samples": {task: {"original": prompts, "effective": prompts}},
        "config": {"model": "adhere", "model_args": f"pretrained={results['model']}"},
        "model_name": results["model"],
        "adhere": {"mode": results["mode"], "provenance": results.get("provenance", {})},
    }


def export_model(run: Path, model: Path | None, dst: Path) -> list[Path]:
    """Copy a model folder without what is not the model, and the results beside it."""
    if model is None or not any((model / name).is_file() for name in MODEL_FILES):
        raise ConfigError(f"export hf: {model} is not a model folder (it has no {' or '.join(MODEL_FILES)})")
    if dst.exists() and any(dst.iterdir()):
        raise ConfigError(f"{dst}: is not empty; export to a new folder")
    shutil.copytree(model, dst, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_THE_MODEL))
    for name in (RESULTS, TABLE):
        if (run / name).is_file():
            shutil.copy2(run / name, dst / name)
    return sorted(file for file in dst.rglob("*") if file.is_file())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
