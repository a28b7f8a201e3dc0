"""Prompts by measured rates: which ones come when, what is measured again, and that a killed stage goes on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from attempts import differences, logged, prepare, step_by_step, whole

from adhere.prompts.item import PromptItem, read_items
from adhere.rewards.errors import ConfigError
from adhere.rewards.rollout import checklist_of
from adhere.train.config.compose import compose_recipe
from adhere.train.config.kinds import kind_of
from adhere.train.config.schema import CurriculumConfig
from adhere.train.run.run import plan_run
from adhere.train.stages.curriculum import Curriculum

RATES = {"a": 0.9, "b": 0.5, "c": 0.1, "never": 0.0, "always": 1.0}
IDS = {
    "a": "punctuation:no_comma",
    "b": "change_case:english_lowercase",
    "c": "change_case:english_capital",
    "never": "startend:quotation",
    "always": "startend:end_checker",
    "unscored": "detectable_format:number_highlighted_sections",
}
GIVEN: dict[str, dict[str, Any]] = {
    "startend:end_checker": {"end_phrase": "x"},
    "detectable_format:number_highlighted_sections": {"num_highlights": 1},
}


def item(name: str, *kinds: str) -> PromptItem:
    checks = {kind: {"constraint": IDS[kind], "kwargs": GIVEN.get(IDS[kind], {})} for kind in kinds}
    rows = [{"id": kind, "text": "", "check": check} for kind, check in checks.items()]
    return PromptItem(name, ({"role": "user", "content": name},), "1", checklist_of(json.dumps(rows)))


def rows(
    curriculum_of: Mapping[str, PromptItem], rates: Mapping[str, float], times: int = 20
) -> list[dict[str, object]]:
    """Return rollouts of every item in which each kind is met as often as ``rates`` says; others are not scored."""
    found: list[dict[str, object]] = []
    for name, one in curriculum_of.items():
        for i in range(times):
            scores = [float(i < rates[r.id] * times) if r.id in rates else None for r in one.checklist]
            found.append({"item_id": name, "requirements": [{"score": score} for score in scores]})
    return found


def measured(**config: object) -> tuple[Curriculum, list[str]]:
    """Return a curriculum over ten items of each kind whose rates are ``RATES``, and the items' kinds in order."""
    kinds = [kind for kind in (*RATES, "plain") for _ in range(10)]
    items = {f"{kind}-{i}": item(f"{kind}-{i}", *([kind] if kind in RATES else [])) for i, kind in enumerate(kinds)}
    given = CurriculumConfig.model_validate({"every": 5, **config})
    found = Curriculum(given, list(items.values()), seed=0, group_size=4)
    found.observe(rows(items, RATES))
    found.measure(0)
    return found, kinds


def test_easy_prompts_come_first_and_those_that_are_never_obeyed_last() -> None:
    found, kinds = measured(start=0.2)
    assert {IDS[kind]: pytest.approx(rate) for kind, rate in RATES.items()} == found.rates
    order, free = found.pool(1.0)
    runs = [kinds[i] for i in order]
    assert [runs[i] for i in range(0, 50, 10)] == ["plain", "a", "b", "c", "never"]
    assert all(len({*runs[i : i + 10]}) == 1 for i in range(0, 50, 10))
    assert [kinds[i] for i in free] == ["always"] * 10
    sizes = [len(found.pool(progress)[0]) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert sizes == [10, 30, 50, 50]
    assert found.pool(0.0)[0] == order[:10], "a pool is the easiest part of the whole"


def test_hopeless_prompts_stay_out_until_they_are_met() -> None:
    found, kinds = measured(hopeless="out")
    assert "never" not in {kinds[i] for i in found.pool(1.0)[0]}
    assert found.figures()["hopeless"] == pytest.approx(1 / 6) and found.figures()["free"] == pytest.approx(1 / 6)
    found.observe([{"item_id": "never-30", "requirements": [{"score": 0.25}]}])
    assert "never" not in {kinds[i] for i in found.pool(1.0)[0]}, "before it is measured"
    found.measure(5)
    assert "never" in {kinds[i] for i in found.pool(1.0)[0]}


@pytest.mark.parametrize(("free", "most"), [(0.0, 0), (0.125, 1), (0.5, 4), (1.0, 8)])
def test_free_prompts_are_as_few_as_wanted(free: float, most: int) -> None:
    found, kinds = measured(start=1.0, free=free)
    counts = []
    for generation in range(30):
        chosen = found.choose(8, generation, 1.0)
        assert len({*chosen}) == 8
        counts.append(sum(kinds[i] == "always" for i in chosen))
    assert max(counts) <= most and (sum(counts) > 0) == (most > 0)


def test_every_prompt_of_the_pool_comes_as_often_as_any_other() -> None:
    found, _ = measured(start=1.0, free=0.0)
    taken = Counter(i for generation in range(25) for i in found.choose(4, generation, 0.0))
    assert set(taken.values()) == {2} and len(taken) == 50


def test_what_is_left_fills_a_generation_where_the_pool_is_too_small() -> None:
    items = [item("a-0", "a"), item("never-0", "never"), item("always-0", "always")]
    found = Curriculum(CurriculumConfig(every=1, free=0.0, hopeless="out"), items, seed=0, group_size=4)
    found.observe(rows({one.id: one for one in items}, RATES))
    found.measure(0)
    assert found.choose(1, 0, 0.0) == [0]
    assert sorted(found.choose(2, 1, 0.0)) == [0, 2], "free ones before hopeless ones"
    assert sorted(found.choose(3, 2, 0.0)) == [0, 1, 2]


def test_a_prompt_is_as_hard_as_its_kinds_together_and_hopeless_where_one_is() -> None:
    items = [item("0", "b", "c"), item("1", "b"), item("2", "a", "never"), item("3", "always", "b"), item("4", "a")]
    found = Curriculum(CurriculumConfig(every=1, start=1.0), items, seed=0, group_size=4)
    found.observe(rows({one.id: one for one in items}, RATES, times=100))
    found.measure(0)
    order, free = found.pool(0.0)
    assert free == [] and order[0] == 4 and {*order[1:3]} == {1, 3} and order[3:] == [0, 2]


def test_a_kind_that_nothing_decides_is_neither_free_nor_hopeless() -> None:
    items = [item("0", "unscored"), item("1", "always")]
    found = Curriculum(CurriculumConfig(every=1, start=1.0, hopeless="out"), items, seed=0, group_size=4)
    found.observe(rows({one.id: one for one in items}, {"always": 1.0}))
    found.measure(0)
    assert found.pool(0.0) == ([0], [1]) and found.rates == {IDS["always"]: 1.0}


def test_only_kinds_with_too_few_rollouts_are_rehearsed() -> None:
    found, kinds = measured()
    assert found.due(5) and not found.due(4)
    asked = Counter(kinds[i] for i in found.missing(1))
    assert asked == dict.fromkeys(RATES, 4), (
        "four groups of four make sixteen rollouts; prompts without kinds need none"
    )
    seen = {f"{kind}-{i}": item(f"{kind}-{i}", kind) for kind, i in (("a", 0), ("b", 10))}
    found.observe(rows(seen, RATES, times=16))
    found.observe(rows({"c-20": item("c-20", "c")}, RATES, times=9))
    asked = Counter(kinds[i] for i in found.missing(1))
    assert asked == {"c": 2, "never": 4, "always": 4}


def test_it_goes_on_from_its_state() -> None:
    one, _ = measured()
    for generation in range(3):
        one.choose(8, generation, 0.2)
    one.observe([{"item_id": "a-0", "requirements": [{"score": 1.0}]}])
    other, _ = measured(every=5)
    other.load_state(json.loads(json.dumps(one.state())))
    one.measure(7)
    other.measure(7)
    assert [one.choose(8, n, 0.5) for n in range(9)] == [other.choose(8, n, 0.5) for n in range(9)]
    assert one.state() == other.state() and one.rates == other.rates


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["grpo.curriculum.every=2", "grpo.exact_trl=true"], "curriculum.every: works with .*not exact_trl=true"),
        (["grpo.curriculum.every=2", "~rewards.components.checklist"], "no component decides requirements"),
        (["grpo.kl_follows=live_share"], "kl_follows: there is no KL term"),
        (["grpo.kl_follows=live_share", "grpo.kl_coefficient=0.1", "grpo.exact_trl=true"], "kl_follows: it needs"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_starts(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_run(["recipe=quickstart", "launcher.device=cpu", "~arms", f"run.root={tmp_path}", *words])


def test_switched_off_no_stage_has_another_name(tmp_path: Path) -> None:
    words = ["recipe=quickstart", "launcher.device=cpu", "~arms", f"run.root={tmp_path}"]
    names = [{*plan_run([*words, *more]).graph.stages} for more in ([], ["grpo.curriculum.start=0.1"],
             ["grpo.curriculum.every=5"])]  # fmt: skip
    assert names[0] == names[1] != names[2]
    settings = compose_recipe(words)
    said = kind_of("grpo").arithmetic(compose_recipe([*words, "grpo.curriculum.every=5"]))
    assert "prompts by the rates of their kinds, measured every 5 steps" in said
    assert set(said) - set(kind_of("grpo").arithmetic(settings)) == {said[2]}
    assert settings.grpo.curriculum.every is None and settings.grpo.kl_follows == "fixed"


LEVERS = [
    "stages=[grpo]", "grpo.max_steps=5", "grpo.learning_rate=1e-3", "grpo.curriculum.every=2", "grpo.temperature=1.5",
    "grpo.per_device_batch_size=16", "grpo.kl_coefficient=0.05", "grpo.kl_follows=live_share",
    "rewards.components.checklist.gate=null", "grpo.save_steps=2", "data.train_size=120",
    "grpo.curriculum.start=0.2",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["grpo.refill=true"]], ids=["alone", "with refill"])
def test_prompts_follow_their_rates_and_a_stopped_or_killed_stage_goes_on_with_them(
    tmp_path: Path, more: list[str]
) -> None:
    one, steps, killed = (prepare(tmp_path / name, *LEVERS, *more) for name in ("whole", "steps", "killed"))
    whole(one)
    assert step_by_step(steps) == [1, 2, 3, 4]
    assert differences(one, steps) == []

    call = [sys.executable, "-m", "adhere.train.worker", str(killed.spec)]
    process = subprocess.Popen(call, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    deadline = time.monotonic() + 300
    while '"step": 3' not in (killed.metrics.read_text() if killed.metrics.exists() else ""):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.done
    whole(killed)
    assert differences(one, killed) == []

    measured_at = [row["step"] for row in logged(one) if "curriculum/rehearsed" in row]
    assert measured_at == [1, 3, 5]
    first = next(row for row in logged(one) if "curriculum/rehearsed" in row)
    rates = {name.removeprefix("curriculum/rates/"): rate for name, rate in first.items() if "curriculum/rates" in name}
    assert first["curriculum/rehearsed"] > 0 and len(rates) == 6
    # The first generation asks for what was found to be easy.
    if not more:
        items = read_items(one.items("train"))
        ease = {item.id: math.prod(rates[r.label] for r in item.checklist) for item in items}
        asked = pq.read_table(one.rollouts / "step_000000.parquet", columns=["item_id"])["item_id"].to_pylist()
        assert min(ease[name] for name in asked) >= sorted(ease.values(), reverse=True)[len(ease) // 5]
