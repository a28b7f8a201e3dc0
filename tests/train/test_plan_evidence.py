"""What a plan says of the differences that its prompts and seeds can show, and of the GPUs' hours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adhere.train.ablation.points import plan_ablation
from adhere.train.cli import main
from adhere.train.plan.describe import describe_run
from adhere.train.plan.evidence import evidence_lines
from adhere.train.run.run import Run, plan_run

GRID = ["recipe=quickstart", "ablation.weights=[{checklist: 0},{checklist: 1}]"]


def planned(*overrides: str) -> Run:
    return plan_ablation([*GRID, *overrides]).run


def detected(run: Run) -> float:
    (line,) = [line for line in evidence_lines(run) if line.startswith("detect")]
    found = re.search(r"to find a difference of (\d+\.\d) points where", line)
    assert found is not None, line
    return float(found[1])


def test_the_plan_says_which_difference_its_prompts_and_seeds_can_show() -> None:
    (first, second) = evidence_lines(planned("ablation.seeds=[0,1,2]"))
    assert first.startswith("detect   4 models, 3 seeds, 400 prompts: 80 % sure to find a difference of ")
    assert "a loss of accuracy of 2 points (ablation.margin) cannot be excluded" in second
    three = detected(planned("ablation.seeds=[0,1,2]"))
    assert detected(planned("ablation.seeds=[0,1,2,3,4]")) < three
    assert detected(planned("ablation.seeds=[0,1,2]", "data.evaluation_size=100")) > three
    assert detected(planned("ablation.seeds=[0,1,2]", "evaluation.limit=50")) > three
    wide = planned("ablation.seeds=[0,1,2]", "ablation.margin=20")
    assert not any("cannot be excluded" in line for line in evidence_lines(wide))


@pytest.mark.parametrize(
    ("seeds", "warned"),
    [("[0]", "one seed only: the interval"), ("[0,1]", "two seeds only: how much"), ("[0,1,2]", "")],
)
def test_fewer_than_three_seeds_warn_before_anything_is_trained(
    seeds: str, warned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablate", "recipe=quickstart", *GRID[1:], f"seeds={seeds}", "--plan"]) == 0
    said = capsys.readouterr().out
    assert f"warning: ablation.seeds: {warned}" in said if warned else "ablation.seeds" not in said
    assert ("no difference will be called better or worse" in said) == (seeds == "[0]")


def test_a_run_of_one_seed_says_so_and_one_of_a_single_model_says_nothing() -> None:
    (line,) = evidence_lines(plan_run(["recipe=quickstart"]))
    assert "4 models, 1 seed" in line and "adhere ablate … seeds=[0,1,2] has three" in line
    assert evidence_lines(plan_run(["recipe=evaluate", "model.path=recipes/assets/tiny_base"])) == []


def test_the_prompts_of_a_file_are_counted_and_those_of_the_hub_are_not_known(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    row = {"id": "a", "messages": [{"role": "user", "content": "1 + 1?"}], "answer": "2"}
    file.write_text("".join(json.dumps(row | {"id": str(i)}) + "\n\n" for i in range(30)), encoding="utf-8")
    lines = evidence_lines(planned("ablation.seeds=[0,1,2]", f"evaluation.path={file}"))
    assert "3 seeds, 30 prompts: " in lines[0]
    unknown = evidence_lines(planned("ablation.seeds=[0,1,2]", "evaluation.suite=gsm8k"))
    assert "an unknown number of prompts: 80 % sure to find a difference on 100 prompts of " in unknown[0]
    assert any("difference on 1,000 prompts of " in line for line in unknown)


def hours(*overrides: str) -> tuple[float, float]:
    found = re.search(r"cost +(\S+) to (\S+) GPU-hours", describe_run(planned(*overrides)))
    assert found is not None
    return float(found[1]), float(found[2])


def test_the_cost_is_the_time_times_the_gpus_of_each_stage() -> None:
    one = hours("launcher.device=cuda", "ablation.seeds=[0,1,2]", "grpo.max_steps=20000")
    two = hours(
        "launcher.device=cuda", "ablation.seeds=[0,1,2]", "grpo.max_steps=20000", "launcher.processes=2", "strategy=ddp"
    )
    assert 0.0 < one[0] < one[1]
    assert two == pytest.approx([2 * value for value in one], rel=0.2)
    shared = hours(
        "launcher.device=cuda", "ablation.seeds=[0,1,2]", "grpo.max_steps=20000", "launcher.stages_per_gpu=3"
    )
    assert shared == pytest.approx([value / 3 for value in one], rel=0.2)
    assert "no GPU-hours" in describe_run(planned("launcher.device=cpu", "ablation.seeds=[0,1,2]"))
