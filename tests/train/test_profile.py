"""A profile says where a step goes, opens in Perfetto, and changes nothing that is trained."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from attempts import differences, prepare, whole

from adhere.train.config.compose import compose_recipe
from adhere.train.run.run import plan_run, unread_overrides


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "phases"),
    [
        ("sft", ["forward", "backward", "optimizer"]),
        ("grpo", ["generation", "rewards", "forward", "backward", "optimizer"]),
    ],
)
def test_a_profile_divides_a_step_and_changes_nothing(tmp_path: Path, kind: str, phases: list[str]) -> None:
    words = [
        f"stages=[{kind}]", f"{kind}.max_steps=4", f"{kind}.learning_rate=1e-3", "grpo.temperature=1.5",
        "rewards.components.checklist.gate=null",
    ]  # fmt: skip
    plain, traced = prepare(tmp_path / "plain", *words), prepare(tmp_path / "traced", *words, "profile=9")
    whole(plain)
    whole(traced)
    assert differences(plain, traced) == []
    assert not (plain.path / "profile").exists()
    page = (traced.path / "profile" / "profile.md").read_text()
    assert "2 optimizer steps up to step 4" in page, "two steps warm up, and there are no more than four"
    shares = dict(re.findall(r"^\| ([a-z -]+) \| [-\d.]+ \| ([-\d.]+)% \|$", page, re.MULTILINE))
    assert {*phases, "other"} <= {*shares} and sum(map(float, shares.values())) == pytest.approx(100.0, abs=0.5)
    assert all(float(share) >= 0.0 for share in shares.values())
    assert "| `aten::" in page
    with gzip.open(traced.path / "profile" / "trace.json.gz", "rt") as file:
        events = json.load(file)["traceEvents"]
    assert {*phases} <= {event.get("name") for event in events}


def test_a_profile_leaves_the_names_of_stages_alone(tmp_path: Path) -> None:
    words = ["recipe=quickstart", "launcher.device=cpu", "~arms", f"run.root={tmp_path}"]
    names = [{*plan_run([*words, *more]).graph.stages} for more in ([], ["profile=2"])]
    assert names[0] == names[1]
    assert compose_recipe(["recipe=quickstart", "debug=profile"]).profile == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["debug=profile", "stages=[evaluate]"], ["profile: traces nothing: no stage of the run trains"]),
        (["debug=smoke", "profile=1", "stages=[sft,grpo]"], ["nothing of sft: the first 2", "nothing of grpo: "]),
        (["profile=3", "sft.max_steps=2", "stages=[sft,grpo]"], ["not traced, and sft has 2"]),
        (["profile=3", "sft.max_steps=3", "stages=[sft,grpo]"], []),
        (["debug=profile"], []),
        (["stages=[evaluate]"], []),
    ],
)  # fmt: skip
def test_a_profile_that_traces_nothing_is_warned_of(words: list[str], expected: list[str], tmp_path: Path) -> None:
    run = plan_run(["recipe=quickstart", "launcher.device=cpu", "~arms", f"run.root={tmp_path}", *words])
    found = unread_overrides(run)
    assert len(found) == len(expected)
    for text, part in zip(found, expected, strict=True):
        assert part in text
