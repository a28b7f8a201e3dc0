"""A finished run of two arms, written in a second: rollouts in training's schema, evaluations by the real evaluator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from adhere.evaluation.generation import Generation, Sampling
from adhere.evaluation.run import evaluate, write_results
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import prompt_suite
from adhere.prompts.attach import with_constraints
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import Requirement, RuleCheck

HOSTILE = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">, \x1b[31mred'
PROMPTS, GROUP, STEPS = 40, 4, 6
NO_COMMA = Requirement("c", "Use no comma.", RuleCheck("punctuation:no_comma"))


class Scripted:
    """Right on the first ``right`` prompts, without a comma on the first ``obeys``."""

    def __init__(self, name: str, right: int, obeys: int) -> None:
        self.name, self.right, self.obeys = name, right, obeys

    def generate(self, items: Sequence[PromptItem], sampling: Sampling) -> list[list[Generation]]:
        return [[self._answer(int(item.id.removeprefix("p")))] for item in items]

    def _answer(self, i: int) -> Generation:
        thought = "<think>\n" + "so " * (i + 1) + "\n</think>\n\n"
        text = f"{thought}So{'' if i < self.obeys else ','} \\boxed{{{4 if i < self.right else 5}}}"
        return Generation(text, 12 + i, True)


def write_run(root: Path, *, name: str = "toy", seed: int = 0, evaluated: bool = True) -> Path:
    """Write ``root/NAME`` and its artifacts; the arm ``composite`` follows more, and one rollout is hostile."""
    stages, models = [], []
    for arm, obeys in (("math_only", 10), ("composite", 36 - seed)):
        key = f"{seed}{arm}".ljust(12, "0")
        recipe = {
            "name": "toy", "seed": seed, "grpo": {"max_steps": STEPS},
            "rewards": {"components": {"math": {"kind": "math", "weight": 1.0},
                                       "checklist": {"kind": "checklist", "weight": float(arm == "composite")},
                                       "critic": {"kind": "judge", "weight": 0.0}}},
        }  # fmt: skip
        _write_grpo(root / "artifacts" / f"grpo-{key}", recipe, arm, key, obeys)
        stages.append(_planned("grpo", f"grpo[{arm}]", key, arm))
        models.append({"name": arm, "arm": arm, "evaluation": "evaluate", "model": "grpo", "key": f"e{key}"})
        stages.append(_planned("evaluate", f"evaluate[{arm}]", f"e{key}", arm))
        if evaluated:
            _write_evaluation(root / "artifacts" / f"evaluate-e{key}", recipe, arm, obeys)
    run = root / name
    run.mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps({"stages": stages, "models": models}), encoding="utf-8")
    (run / "recipe.yaml").write_text("name: toy\n", encoding="utf-8")
    return run


def write_ablation(root: Path, points: Mapping[str, tuple[int, int]], *, seeds: int = 3) -> Path:
    """Write an ablation of ``points``, each by how many of the prompts it is right on and follows; return its folder.

    The last point was ended by halving at step 3, one seed of the one before it failed in its evaluation, and the name
    ``twin`` stands for the first.
    """
    stages, models, members = [], [], {}
    names = list(points)
    for name, (right, obeys) in points.items():
        for seed in range(seeds):
            arm, key = f"{name}-s{seed}", f"{names.index(name)}x{seed}".ljust(12, "0")
            recipe = {
                "name": "grid", "seed": 0, "grpo": {"max_steps": STEPS, "seed": seed},
                "rewards": {"components": {"math": {"kind": "math", "weight": right / 10},
                                           "checklist": {"kind": "checklist", "weight": obeys / 10}}},
            }  # fmt: skip
            members[arm] = {"point": name, "seed": seed}
            ended = name == names[-1]
            grpo = root / "artifacts" / f"grpo-{key}"
            _write_grpo(grpo, recipe, arm, key, obeys - 3 * seed, steps=3 if ended else STEPS)
            if ended:
                (grpo / "DONE").unlink()
            stages += [
                _planned("grpo", f"grpo[{arm}]", key, arm),
                _planned("evaluate", f"evaluate[{arm}]", f"e{key}", arm),
            ]
            models.append({"name": arm, "arm": arm, "evaluation": "evaluate", "model": "grpo", "key": f"e{key}"})
            if not ended and (name, seed) != (names[-2], seeds - 1):
                evaluation = root / "artifacts" / f"evaluate-e{key}"
                _write_evaluation(evaluation, recipe, arm, obeys - seed, right=right - 2 * seed)
    run = root / "grid"
    run.mkdir()
    (run / "plan.json").write_text(
        json.dumps({"stages": stages, "models": models, "points": members}), encoding="utf-8"
    )
    (run / "recipe.yaml").write_text("name: grid\n", encoding="utf-8")
    rates = {name: 0.5 - 0.05 * place for place, name in enumerate(names)}
    rung = {"step": 3, "rates": rates, "kept": names[:-1], "ended": names[-1:], "risk": 0.125}
    course = {
        "merged": [{"point": "twin", "stands_for_it": names[0], "why": "they differ in nothing that is trained on"}],
        "rungs": [rung], "saved_share_of_steps": 0.25, "seconds": {"shared": 100.0, "alone": 250.0},
        "failed": {f"evaluate[{names[-2]}-s{seeds - 1}]": "exit code 1"}, "skipped": {},
    }  # fmt: skip
    (run / "arms.json").write_text(json.dumps(course), encoding="utf-8")
    return run


def write_graph(root: Path) -> Path:
    """Write a run whose graph trains twice from one SFT, merges both and trains on; two evaluations measure it.

    ``whole`` asks all prompts, ``part`` asks the last model eight of them. The merged model is right most often.
    """
    made = {"sft": ("sft", []), "maths": ("grpo", ["sft"]), "instructions": ("grpo", ["sft"]),
            "both": ("merge", ["sft", "maths", "instructions"]), "again": ("grpo", ["both"])}  # fmt: skip
    recipe = {"name": "graph", "seed": 0, "grpo": {"max_steps": STEPS}}
    stages, models = [], []
    for label, (kind, sources) in made.items():
        inputs = {"model" if i == 0 else f"models.{i - 1}": source.ljust(12, "0") for i, source in enumerate(sources)}
        key = label.ljust(12, "0")
        stages.append(_planned(kind, label, key, "run") | {"name": label, "kind": kind, "inputs": inputs})
        folder = root / "artifacts" / f"{kind}-{key}"
        if kind == "grpo":
            _write_grpo(folder, recipe, label, key, 20)
        else:
            folder.mkdir(parents=True)
            (folder / "DONE").touch()
    right = {"base": 2, "sft": 10, "maths": 20, "instructions": 12, "both": 36, "again": 24}
    for stage, names, prompts in (("whole", list(right), PROMPTS), ("part", ["again"], 8)):
        for name in names:
            key, model = f"e{stage}{name}".ljust(12, "0"), None if name == "base" else name
            inputs = {} if model is None else {"model": name.ljust(12, "0")}
            planned = _planned("evaluate", f"{stage}[{name}]", key, "run")
            stages.append(planned | {"name": stage, "kind": "evaluate", "inputs": inputs})
            models.append({"name": f"{stage}: {name}", "arm": "run", "evaluation": stage, "model": model, "key": key})
            evaluation = root / "artifacts" / f"evaluate-{key}"
            _write_evaluation(evaluation, recipe, name, right[name], right=right[name], prompts=prompts)
    run = root / "graph"
    run.mkdir()
    (run / "plan.json").write_text(json.dumps({"stages": stages, "models": models}), encoding="utf-8")
    (run / "recipe.yaml").write_text("name: graph\n", encoding="utf-8")
    return run


def write_suites(root: Path) -> Path:
    """Write a run that measures the base, SFT and two arms of GRPO on two suites, remedies, and diagnostics."""
    arms = {"math_only": (36, 8), "composite": (34, 32)}
    figures = {"base": (10, 20), "sft": (20, 26), **arms}
    recipe = {"name": "suites", "seed": 0, "grpo": {"max_steps": STEPS}}
    stages, models = [], []
    key = {"sft": "sft".ljust(12, "0"), **{arm: f"g{arm}".ljust(12, "0") for arm in arms}}
    (root / "artifacts" / f"sft-{key['sft']}").mkdir(parents=True)
    (root / "artifacts" / f"sft-{key['sft']}" / "DONE").touch()
    stages.append(_planned("sft", "sft", key["sft"], "math_only") | {"arms": list(arms)})
    for arm, (_, obeys) in arms.items():
        _write_grpo(root / "artifacts" / f"grpo-{key[arm]}", recipe, arm, key[arm], obeys)
        stages.append(_planned("grpo", f"grpo[{arm}]", key[arm], arm) | {"inputs": {"model": key["sft"]}})
    for suite in ("words", "sums", "none", "repeat"):
        for name, (right, obeys) in figures.items():
            if suite in ("none", "repeat") and name != "base":
                continue
            made = f"e{suite}{name}".ljust(12, "0")
            gained = 10 if suite == "repeat" else 0
            arm = name if name in arms else "math_only"
            inputs = {} if name == "base" else {"model": key[name]}
            stages.append(_planned("evaluate", f"{suite}[{name}]", made, arm) | {"name": suite, "inputs": inputs})
            source = None if name == "base" else "sft" if name == "sft" else "grpo"
            models.append({"name": f"{suite}: {name}", "arm": arm, "evaluation": suite, "model": source, "key": made})
            folder = root / "artifacts" / f"evaluate-{made}"
            _write_evaluation(folder, recipe, name, obeys + gained, right=right - gained // 2, rules=suite != "sums")
            if suite in ("none", "repeat"):
                cost = {"name": suite, "options": {}, "tokens": 40.0 + gained, "seconds": 2.0, "applied": 1.0}
                file = folder / "results.json"
                file.write_text(json.dumps({**json.loads(file.read_text()), "remedy": cost}), encoding="utf-8")
    run = root / "suites"
    (run / "diagnostics").mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps({"stages": stages, "models": models}), encoding="utf-8")
    (run / "recipe.yaml").write_text("name: suites\n", encoding="utf-8")
    (run / "diagnostics" / "diagnostics.json").write_text(json.dumps(DIAGNOSTICS), encoding="utf-8")
    return run


def _found(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}


def _sides(figures: Mapping[str, object]) -> dict[str, object]:
    return {"model": figures, "against": figures}


_PHASES = {
    p: {"lift": _found(1.0 + i), "layers": {"lift": [1.0, 1.5 + i]}} for i, p in enumerate(("reasoning", "answer"))
}
DIAGNOSTICS = {
    "model": "stages/grpo/model", "against": "stages/sft/model", "prompts": 8, "seconds": 1.0,
    "diagnostics": {
        "attention": _sides({"items": 8, "left_out": 0, "phases": _PHASES}),
        "controls": _sides({"variants": {v: {"hacc": _found(0.5), "sacc": _found(0.6)}
                                         for v in ("original", "empty")}}),
        "faithfulness": _sides({"unchanged": {"early": _found(0.2), "early_of_right": _found(0.9),
                                              "intact": {"mean": None, "low": None, "high": None}}}),
        "routing": {},
    },
}  # fmt: skip


def _planned(kind: str, label: str, key: str, arm: str) -> dict[str, object]:
    return {"label": label, "key": key, "artifact": f"{kind}-{key}", "inputs": {}, "arms": [arm]}


def _write_grpo(folder: Path, recipe: dict[str, object], arm: str, key: str, obeys: int, *, steps: int = STEPS) -> None:
    (folder / "rollouts").mkdir(parents=True)
    spec = {"kind": "grpo", "label": f"grpo[{arm}]", "key": key, "recipe": recipe}
    (folder / "stage.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (folder / "manifest.json").write_text(
        json.dumps({"seed": recipe["seed"], "seconds": 7.5, "versions": {"trl": "1.16.0"}})
    )
    alarm = {"name": "length", "step": 2, "value": 9.0, "limit": 3.0, "text": "responses grow <b>fast</b>"}
    (folder / "alarms.jsonl").write_text(json.dumps(alarm) + "\n", encoding="utf-8")
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as metrics:
        for step in range(steps):
            rows = [_rollout(arm, step, i, obeys) for i in range(4 * GROUP)]
            pq.write_table(pa.Table.from_pylist(rows), folder / "rollouts" / f"step_{step:06d}.parquet")
            row = {f"rates/{rate}": sum(bool(r[flag]) for r in rows) / len(rows)
                   for rate, flag in (("accuracy", "correct"), ("hacc", "followed"))}  # fmt: skip
            figures = {"mean": 0.5, "zero_spread_groups": 0.25, "timeouts": 0.0, "errors": 1.0}
            row |= {
                "loss": 0.02 * (step - 2),
                "kl": 0.001 * step,
                "grad_norm": 1.0 / (step + 1),
                "entropy": 0.9 - 0.05 * step,
            }
            row |= {"learning_rate": 4e-5 * (1 - step / STEPS)}
            row |= {f"components/{c}/{k}": v for c in ("math", "checklist") for k, v in figures.items()}
            metrics.write(json.dumps({"step": step + 1, **row, "rates/joint": 0.1 * step, "step_time": 2.0}) + "\n")
    (folder / "DONE").touch()


def write_sft(root: Path, run: Path) -> Path:
    """Write an SFT that all arms of ``run`` start from, with the steps that it logged, and enter it into the plan."""
    folder = root / "artifacts" / "sft-5f7000000000"
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"kind": "sft", "label": "sft", "key": "5f7000000000", "recipe": {"name": "toy", "seed": 0}}
    (folder / "stage.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    steps = range(1, 61)
    rows = [
        {"step": s, "loss": 2 / s, "grad_norm": 3 / s, "learning_rate": 2e-3, "mean_token_accuracy": 1 - 1 / (s + 1)}
        for s in steps
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "DONE").touch()
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    arms = sorted({arm for stage in plan["stages"] for arm in stage["arms"]})
    plan["stages"].insert(0, _planned("sft", "sft", "5f7000000000", arms[0]) | {"arms": arms})
    (run / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return run


def _rollout(arm: str, step: int, i: int, obeys: int) -> dict[str, object]:
    correct, followed = i % 3 != 0, (i * 7 + step) % 40 < obeys
    text = (
        HOSTILE
        if (step, i) == (0, 0)
        else f"<think>\nstep {step}\n</think>\n\nSo{'' if followed else ', well,'} \\boxed{{4}}."
    )
    detail = "no comma" if followed else "2 commas"
    status = "timeout" if (step, i) == (1, 1) else "ok"
    return {
        "step": step, "group": i // GROUP, "item_id": f"t{step}-{i // GROUP}", "source": "toy",
        "prompt": f"What is {step} + {i // GROUP}? Use no comma.", "response": text, "answer": "4", "tokens": 20 + i,
        "finished": True, "correct": correct, "followed": followed,
        "requirements": [{"id": "punctuation:no_comma", "text": "Use no comma.", "score": float(followed),
                          "status": "ok", "detail": detail}],
        "math_score": None if status == "timeout" else float(correct), "math_status": status, "math_detail": "4",
        "checklist_score": float(followed), "checklist_status": "ok", "checklist_detail": detail,
        "critic_score": float(followed if (step, i) != (2, 5) else not followed), "critic_status": "ok",
        "critic_detail": "follows" if followed else "does not",
        "math_value": float(correct), "checklist_value": float(followed), "advantage": float(i - 8),
    }  # fmt: skip


def _write_evaluation(
    folder: Path, recipe: dict[str, object], arm: str, obeys: int, *, right: int = 30, prompts: int | None = None,
    rules: bool = True,
) -> None:  # fmt: skip
    items = [
        PromptItem(f"p{i}", ({"role": "user", "content": f"{i}?"},), "4", source="toy")
        for i in range(prompts or PROMPTS)
    ]
    suite = prompt_suite("toy", [with_constraints(item, [NO_COMMA]) for item in items] if rules else items)
    done = evaluate(suite, Scripted(arm, right, obeys), Sampling(), bootstrap=Bootstrap(resamples=200))
    write_results(folder, done)
    spec = {"kind": "evaluate", "label": f"evaluate[{arm}]", "key": "e", "recipe": recipe}
    (folder / "stage.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (folder / "DONE").touch()
