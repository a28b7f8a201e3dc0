"""What each aggregation pays: advantages of one group of eight rollouts, and each component's share of them.

python bench/aggregation_table.py [--weight 0.5]

The group, as (answer correct, share of the constraints met): one right as told, one right only, four as told but wrong,
one neither, and one wrong with half of its constraints. All advantages are those that the trainer uses: with the last
whitening over the batch, here of this one group, and TRL's 1e-4 beside the deviation.
"""

from __future__ import annotations

import argparse
from typing import Any

from adhere.rewards.arithmetic import signal, values_array, weights_array
from adhere.rewards.config import RewardConfig

GROUP = [(1.0, 1.0), (1.0, 0.0), *[(0.0, 1.0)] * 4, (0.0, 0.0), (0.0, 0.5)]
SHOWN = {"right, as told": 0, "right only": 1, "as told, wrong": 2, "neither": 6}


def schemes(weight: float) -> dict[str, dict[str, Any]]:
    """Return every aggregation with the constraints at ``weight``: settings by the name of the row."""
    ratio = f"1 : {weight:g}"
    return {
        "math alone": {"constraints": {"weight": 0.0}},
        f"weighted_sum {ratio}": {},
        f"weighted_sum {ratio}, unscaled": {"scale": "none"},
        f"gated {ratio}": {"aggregation": "gated"},
        f"normalize_then_sum {ratio}": {"aggregation": "normalize_then_sum"},
        f"normalize_then_sum {ratio}, gate": {
            "aggregation": "normalize_then_sum",
            "constraints": {"gate": "math", "weight": weight},
        },
        f"saturation_aware {ratio}": {"aggregation": "saturation_aware"},
        f"saturation_aware {ratio}, gate": {
            "aggregation": "saturation_aware",
            "constraints": {"gate": "math", "weight": weight},
        },
        f"product {ratio}": {"aggregation": "product"},
        "all": {"aggregation": "all"},
        "lexicographic": {"aggregation": "lexicographic"},
    }


def row(settings: dict[str, Any], weight: float) -> list[float]:
    """Return the advantages of the shown rollouts, then the shares of the two components."""
    components = {
        "math": {"kind": "math"},
        "constraints": {"kind": "checklist", "weight": weight, **settings.get("constraints", {})},
    }
    reward = {key: value for key, value in settings.items() if key != "constraints"}
    config = RewardConfig.model_validate({**reward, "components": components})
    gated = config.gate_of("constraints") is not None
    group = [{"math": c, "constraints": k * c if gated else k} for c, k in GROUP]
    found = signal(config, values_array(config, [group]), weights_array(config))
    return [*found.advantages[0, list(SHOWN.values())].tolist(), *found.shares.values()]


def main() -> None:
    """Print the table as markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weight", type=float, default=1.0, help="weight of the constraints beside 1 for the answer")
    weight = parser.parse_args().weight
    print("| aggregation | " + " | ".join([*SHOWN, "share of answer", "share of constraints"]) + " |")
    print("|---|" + "---:|" * (len(SHOWN) + 2))
    for name, settings in schemes(weight).items():
        figures = row(settings, weight)
        cells = [f"{x:+.2f}" for x in figures[: len(SHOWN)]] + [f"{round(100 * x)} %" for x in figures[len(SHOWN) :]]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
