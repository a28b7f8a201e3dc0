"""A user's aggregation from a plug-in module: composed, planned, trained on, re-weighted and audited by its name."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reward_rows import advantage_shares, advantages, aggregate
from rollout_files import random_verdicts, write_stage

from adhere.evaluation.audit.scoring import Entry, Scored
from adhere.evaluation.reweight import read_rollouts, study
from adhere.rewards.aggregation import AGGREGATIONS, Aggregation
from adhere.rewards.composite import Composite
from adhere.rewards.config import COMBINED, RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.functions import RewardFunctions
from adhere.rewards.plugins import load_plugins, plugin_packages
from adhere.train.config.compose import compose_recipe
from adhere.train.plan.rewards import equal_arms, reward_lines

MODULE = '''
import numpy as np

from adhere.rewards.aggregation import AGGREGATIONS, Aggregation


@AGGREGATIONS.register("weakest")
class Weakest(Aggregation):
    """The lowest value of what counts."""

    def rewards(self, values_G_N_K, weights_G_K, config):
        return np.where(np.isnan(values_G_N_K), np.inf, values_G_N_K).min(axis=2)


@AGGREGATIONS.register("above_mean")
class AboveMean(Aggregation):
    """How far the weighted sum lies above the group's mean."""

    groupwise = True
    weight_is = "factor"

    def parts(self, values_G_N_K, weights_G_K, config):
        counts = np.maximum(1, (~np.isnan(values_G_N_K)).sum(axis=1, keepdims=True))
        return weights_G_K[:, None] * (values_G_N_K - np.nansum(values_G_N_K, axis=1, keepdims=True) / counts)
'''
CHECKLIST = "rewards.components.checklist"


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lab_aggregations.py").write_text(MODULE, encoding="utf-8")
    sys.path.append(str(folder))
    load_plugins(["lab_aggregations"])
    yield
    sys.path.remove(str(folder))
    for name in ("weakest", "above_mean"):
        del AGGREGATIONS._things[name], AGGREGATIONS._modules[name]
    del sys.modules["lab_aggregations"]


def config(**others: Any) -> RewardConfig:
    components = {"math": {"kind": "math"}, "rules": {"kind": "checklist"}}
    return RewardConfig.model_validate({"components": components, "aggregation": "weakest", **others})


def test_a_recipe_names_it_and_plan_shows_it() -> None:
    recipe = compose_recipe(["rewards.aggregation=weakest", f"{CHECKLIST}.weight=0.5"])
    table = " ".join("\n".join(reward_lines({"one": recipe})).split())
    assert "weakest, as written 1 0.5 if math metric metric" in table
    assert "lab_aggregations" in plugin_packages(recipe.model_dump(mode="json"))
    other = compose_recipe(["rewards.aggregation=weakest", f"{CHECKLIST}.weight=0.25"])
    assert equal_arms({"half": recipe, "quarter": other}) == [], "nothing is known of what its weights mean"
    assert equal_arms({"half": recipe, "again": recipe})


def test_what_its_weights_mean_is_said_by_the_class() -> None:
    """A common factor is scaled away, and so ``plan`` shows ratios and finds the equal arms."""
    arms = {
        str(w): compose_recipe(
            ["rewards.aggregation=above_mean", *(f"rewards.components.{n}.weight={w}" for n in ("math", "checklist"))]
        )
        for w in (1, 3)
    }
    assert "above_mean, ratio to math" in "\n".join(reward_lines(arms))
    assert [(a, b) for a, b, _ in equal_arms(arms)] == [("1", "3")]


def test_the_reward_functions_pay_it_in_the_column_that_trl_reads() -> None:
    with Engine() as engine:
        made = RewardFunctions(Composite(config(), engine))
        checklist = [{"id": "c", "text": "no comma", "check": {"constraint": "punctuation:no_comma"}}]
        batch = {
            "prompts": ["2 + 2?"] * 3,
            "completions": ["\\boxed{4}", "well, \\boxed{4}", "\\boxed{5}"],
            "completion_ids": [[1]] * 3,
            "answer": ["4"] * 3,
            "checklist": [json.dumps(checklist)] * 3,
        }
        columns = {function.__name__: function(**batch) for function in made.as_list()}
    assert made.weights() == [0.0, 0.0, 1.0]
    assert columns[COMBINED] == [1.0, 0.0, 0.0]


def test_its_advantages_and_shares_need_nothing_but_its_reward() -> None:
    group = [{"math": a, "rules": b} for a, b in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (None, 0.5))]
    assert aggregate(config(), [group]) == [1.0, 0.0, 0.0, 0.5]
    assert sum(advantages(config(), [group])) == pytest.approx(0.0)
    shares = advantage_shares(config(), [group])
    assert sum(shares.values()) == pytest.approx(1.0) and all(share > 0.0 for share in shares.values())


def test_it_is_reweighted_and_is_what_a_recorded_run_was_trained_on(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [[{name: random_verdicts(rng, 0.1) for name in ("math", "rules")} for _ in range(16)] for _ in range(2)]
    write_stage(tmp_path, config(), rows, 4)
    rollouts = read_rollouts(tmp_path, ["math", "rules"], 4)
    found = study(
        rollouts, config(), 2, {"sum": config(aggregation="weighted_sum"), "mean": config(aggregation="above_mean")}
    )
    assert found.worst < 1e-9
    assert found.points[0].overall.cosine < 0.999 and np.isfinite(found.points[1].overall.cosine)


def test_an_audit_pays_by_it() -> None:
    case: Any = None
    row = (("right", 1.0, 1.0), ("half", 1.0, 0.5), ("not scored", None, None))
    group = [Entry(case, name, "", {}, {"math": math, "rules": rules}) for name, math, rules in row]
    scored = Scored(config(), [group, group[:1]])
    assert scored.under(config()).rewards == [[1.0, 0.5, None], [1.0]]
    assert scored.under(config(aggregation="weighted_sum")).rewards == [[2.0, 1.5, None], [2.0]]


def test_a_name_that_nobody_registered_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"rewards\.aggregation.*no aggregation 'weakst' \(did you mean 'weakest'"):
        compose_recipe(["rewards.aggregation=weakst"])
    with pytest.raises(ValueError, match="leave scale at 'group'"):
        config(aggregation="above_mean", scale="none")


class Wrong(Aggregation):
    """Something that cannot be."""

    found: Any = None

    def rewards(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        return np.asarray(self.found(values_G_N_K))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda values: values.sum(axis=1), r"aggregation: wrong returned an array of shape \(2, 2\), not \(2, 3\)"),
        (lambda values: 1.0, r"wrong returned an array of shape \(\), not \(2, 3\)"),
        (lambda values: np.where(values[..., 0] == 1.0, np.nan, 0.0), "wrong returned no finite number"),
        (lambda values: values[..., 0] / 0.0, "wrong returned no finite number"),
    ],
)
def test_one_that_returns_nonsense_is_found_when_the_recipe_is_read(
    found: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wrong, "found", staticmethod(found))
    monkeypatch.setitem(AGGREGATIONS._things, "wrong", Wrong)
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        config(aggregation="wrong")


def undocumented() -> type:
    return type("Bare", (Aggregation,), {"rewards": Wrong.rewards})


@pytest.mark.parametrize(
    ("thing", "problem"),
    [
        (lambda: print, "is not a subclass"),
        (lambda: type("Idle", (Aggregation,), {"__doc__": "Idle."}), "defines neither rewards nor parts"),
        (undocumented, "has no docstring"),
        (
            lambda: type("Odd", (Wrong,), {"__doc__": "Odd.", "settings": ("std_flor",)}),
            "names a setting 'std_flor'; there are std_floor, saturation_gamma",
        ),
    ],
)
def test_what_cannot_be_an_aggregation_is_refused_when_it_registers(thing: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"the aggregation 'mine' {problem}"):
        AGGREGATIONS.add("mine", thing(), "my_lab")
    with pytest.raises(ConfigError, match="'product' exists already, in adhere"):
        AGGREGATIONS.add("product", Wrong, "my_lab")
