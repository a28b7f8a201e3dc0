"""Other rewards on recorded rollouts: the formulas are the trainer's, and what they cannot answer for is refused."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from reward_rows import advantage_shares
from rollout_files import UNASKED, random_verdicts, write_stage

from adhere.evaluation.reweight import Rollouts, Study, read_rollouts, recorded_signal, study, write
from adhere.evaluation.reweight.signal import gated_values
from adhere.rewards.aggregation import AGGREGATIONS
from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import ConfigError, DataError

SIZE = 4
RISING = {"schedule": "linear", "start": 0.0, "end": 1.0, "over": 1.0}
GATES: dict[str, dict[str, Any]] = {"open": {}, "gated": {"gate": "math"}, "rising": {"weight": RISING}}


def config(rules: dict[str, Any] | None = None, **others: Any) -> RewardConfig:
    components = {
        "math": {"kind": "math"},
        "rules": {"kind": "checklist", "weight": 0.5, **(rules or {})},
        "length": {"kind": "length", "weight": 0.25, "target": 5, "maximum": 25},
    }
    return RewardConfig.model_validate({"components": components, **others})


def made(folder: Path, reward: RewardConfig, broken: float = 0.15, steps: int = 3, groups: int = 6) -> list[float]:
    rng = random.Random(1)
    rows = [
        [{name: random_verdicts(rng, broken) for name in reward.components} for _ in range(groups * SIZE)]
        for _ in range(steps)
    ]
    return write_stage(folder, reward, rows, SIZE)


def read(folder: Path, **options: Any) -> Rollouts:
    return read_rollouts(folder, ["math", "rules", "length"], SIZE, **options)


def studied(folder: Path, points: dict[str, RewardConfig], original: RewardConfig | None = None) -> Study:
    return study(read(folder, requirements=True), original or config(), 3, points)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_recomputed_advantages_and_shares_are_those_of_the_trainer(aggregation: str, gate: str, tmp_path: Path) -> None:
    for scale in ("group",) if AGGREGATIONS[aggregation].groupwise else ("group", "batch", "none"):
        if aggregation == "gated" and gate == "gated":
            continue
        reward = config(GATES[gate], aggregation=aggregation, scale=scale)
        expected = made(tmp_path / scale, reward)
        rollouts = read(tmp_path / scale)
        found = recorded_signal(reward, rollouts, 3)
        scored = ~np.isnan(found.rewards)
        assert found.advantages[scored].ravel() == pytest.approx(np.array(expected).reshape(-1, SIZE)[scored], abs=1e-9)
        assert np.any(found.signs > 0) and not found.advantages[~scored].any()


def test_shares_are_those_that_training_logs(tmp_path: Path) -> None:
    reward = config({"gate": "math"})
    made(tmp_path, reward, broken=0.0, steps=1)
    rollouts = read(tmp_path)
    weights = np.repeat([list(reward.weights().values())], len(rollouts.steps), axis=0)
    values = gated_values(reward, rollouts, weights, 1)
    groups = [[dict(zip(reward.components, row, strict=True)) for row in group] for group in values.tolist()]
    expected = advantage_shares(reward, groups)
    assert recorded_signal(reward, rollouts, 1).shares == pytest.approx(expected)


def test_a_judge_that_the_gate_left_unasked_was_worth_nothing_and_has_no_score(tmp_path: Path) -> None:
    """The value was 0 in training and counts in the group's mean; without the gate nobody knows what it would be."""
    right = [{"math": (1.0, "ok"), "rules": (s, "ok"), "length": (1.0, "ok")} for s in (1.0, 0.5)]
    wrong = [{"math": (0.0, "ok"), "rules": UNASKED, "length": (1.0, "ok")}] * 2
    gated = config({"gate": "math"}, aggregation="normalize_then_sum")
    write_stage(tmp_path, gated, [[*right, *wrong]], SIZE)
    found = studied(tmp_path, {"metric": gated.with_weights({"math": 1.0, "rules": 0.0, "length": 0.0})}, gated)
    assert found.worst < 1e-9
    with pytest.raises(ConfigError, match=r"rules\.gate: the judge was not asked about 2 rollouts"):
        studied(tmp_path, {"open": config(aggregation="normalize_then_sum")}, gated)
    metric = config({"weight": 0.0}, aggregation="normalize_then_sum")
    assert studied(tmp_path, {"ungated metric": metric}, gated).points


def test_a_point_is_compared_by_hand(tmp_path: Path) -> None:
    """Two groups of four: in one the rules alone tell rollouts apart, in the other they turn the order round."""
    ok = [(x, "ok") for x in (0.0, 1.0)]
    flat = [{"math": ok[1], "rules": ok[i % 2], "length": ok[1]} for i in range(SIZE)]
    turned = [{"math": ok[i % 2], "rules": ok[1 - i % 2], "length": ok[1]} for i in range(SIZE)]
    original = config({"weight": 0.0})
    write_stage(tmp_path, original, [[*flat, *turned]], SIZE)
    found = studied(tmp_path, {"rules": config({"weight": 2.0})}, original).points[0]
    assert (found.groups.live, found.groups.gained, found.groups.lost) == (2, 1, 0)
    assert found.overall.flips == 0.5
    assert (found.overall.begun, found.overall.ended) == (0.5, 0.25)
    assert found.overall.cosine == pytest.approx(-1 / np.sqrt(2), abs=1e-3)
    assert found.sources["sums"].cosine == pytest.approx(-1.0) and np.isnan(found.sources["words"].cosine)
    assert found.cells["right only"].advantage < 0.0 < found.cells["as told, wrong"].advantage
    assert found.worth and "worth a run: nearest is the original (cosine -0.707, 50.0% flips)" in found.verdict


def test_equivalent_points_are_merged_and_near_ones_are_no_run(tmp_path: Path) -> None:
    made(tmp_path, config())
    weights = {"math": 1.0, "rules": 0.5, "length": 0.25}
    found = studied(
        tmp_path,
        {
            "doubled": config().with_weights({n: 2.0 * w for n, w in weights.items()}),
            "other": config().with_weights({**weights, "rules": 4.0}),
            "near": config().with_weights({**weights, "rules": 4.2}),
        },
    )
    doubled, other, near = found.points
    assert doubled.same_as == "the original" and not doubled.worth
    assert other.worth and other.same_as is None
    assert not near.worth and near.verdict.startswith("nearly the same training signal as other (cosine 1.000, 0.0% f")
    assert [point.name for point in found.kept] == ["other", "near"]


def test_lengths_and_checklists_are_scored_again(tmp_path: Path) -> None:
    made(tmp_path, config({"scoring": "mean"}), broken=0.0)
    strict = config({"scoring": "all"})
    long = RewardConfig.model_validate(
        {"components": {**strict.model_dump()["components"], "length": {"kind": "length", "target": 0, "maximum": 30}}}
    )
    from adhere.evaluation.reweight.rescore import rescored

    again = rescored(read(tmp_path, requirements=True), config({"scoring": "mean"}), long)
    recorded = read(tmp_path).scores["rules"]
    assert again.scores["rules"] == pytest.approx((recorded == 1.0).astype(float))
    assert again.scores["length"][0] == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rules": {"kind": "checklist", "mode": "compat"}}, r"rules\.mode: the recorded scores depend on it"),
        ({"rules": {"kind": "checklist", "scoring": "implicit"}}, r"rules\.scoring: 'mean' and 'all' can be made"),
        ({"rules": {"kind": "format"}}, r"rules\.kind: this run scored 'checklist' under that name"),
        ({"ruls": {"kind": "checklist"}}, r"ruls: was never scored in this run \(did you mean 'rules'\?\)"),
    ],
)
def test_what_was_never_scored_is_refused(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    made(tmp_path, config())
    wanted = RewardConfig.model_validate({"components": {"math": {"kind": "math"}, **change}})
    with pytest.raises(ConfigError, match=reason):
        studied(tmp_path, {"other": wanted})


def test_rollouts_of_other_rewards_are_refused(tmp_path: Path) -> None:
    made(tmp_path, config())
    with pytest.raises(
        DataError, match=r"step_00000\d\.parquet: row \d+: its advantage is recorded as .* recomputed as"
    ):
        studied(tmp_path, {}, config({"weight": 3.0}))


def test_single_precision_is_no_difference(tmp_path: Path) -> None:
    """A group whose rewards are equal but for rounding: TRL divides that rounding by 1e-4."""
    row = {"math": (1.0, "ok"), "rules": (1.0, "ok"), "length": (0.3, "ok")}
    write_stage(tmp_path, config(), [[row] * SIZE], SIZE, advantage=[6e-4, -6e-4, 0.0, 0.0])
    assert studied(tmp_path, {}).worst == pytest.approx(6e-4)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda t: t.drop_columns(["rules_status"]), "has no column 'rules_status'"),
        (lambda t: t.slice(1), "are not whole groups of 4"),
        (lambda t: t.slice(0, 6), "are not whole groups of 4"),
    ],
)
def test_damaged_files_are_named(damage: Any, reason: str, tmp_path: Path) -> None:
    made(tmp_path, config())
    path = tmp_path / "step_000001.parquet"
    pq.write_table(damage(pq.read_table(path)), path)
    with pytest.raises(DataError, match=f"step_000001.*{reason}"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"holds no step_\*\.parquet"):
        read(tmp_path / "nothing")


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    made(tmp_path, config())
    path = max(tmp_path.glob("step_*.parquet"))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=rf"{path.name}: is cut off or not a parquet file"):
        read(tmp_path)


def test_everything_is_written(tmp_path: Path) -> None:
    expected = made(tmp_path / "in", config())
    found = studied(tmp_path / "in", {"product": config(aggregation="product")})
    paths = {path.name: path for path in write(tmp_path / "out", found, "grpo")}
    content = json.loads(paths["reweight.json"].read_text())
    assert [point["name"] for point in content["points"]] == ["the original", "product"]
    assert content["rollouts"] == 72 and content["points"][1]["steps"].keys() == {"0", "1", "2"}
    rows = list(csv.DictReader(paths["points.csv"].open()))
    assert float(rows[1]["cosine"]) == pytest.approx(found.points[0].overall.cosine)
    table = pq.read_table(paths["rollouts.parquet"]).to_pylist()
    assert [row["recorded"] for row in table] == expected
    assert (table[30]["step"], table[30]["row"], table[30]["group"]) == (1, 6, 1)
    assert np.array([row["product"] for row in table]) == pytest.approx(found.points[0].found.advantages.ravel())


def test_a_file_holds_one_generation_under_an_id_of_its_own(tmp_path: Path) -> None:
    made(tmp_path, config(), steps=2)
    first, second = sorted(tmp_path.glob("step_*.parquet"))
    table = pq.read_table(second)
    place = table.column_names.index("batch")
    pq.write_table(table.set_column(place, "batch", [[0] * len(table)]), second)
    with pytest.raises(DataError, match=r"step_000001.parquet: its column 'batch' is not one id of its own"):
        read(tmp_path)
    for file in (first, second):
        pq.write_table(pq.read_table(file).drop_columns(["batch"]), file)
    assert len(set(read(tmp_path).batches.tolist())) == 2, "files of earlier versions are read by file"
