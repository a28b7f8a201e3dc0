"""Failures replayed as successes: which rows an update gets, what they do to the weights, an exact resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attempts import differences, prepare, step_by_step, whole

from adhere.prompts.attach import with_constraints
from adhere.prompts.item import PromptItem
from adhere.records.artifact import Artifact
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import RelabelConfig
from adhere.train.model.load import load_tokenizer
from adhere.train.run.run import plan_run
from adhere.train.stages.microbatches import Rows
from adhere.train.stages.relabel import Relabelling, replayed

LEARNS = [
    "stages=[grpo]", "grpo.learning_rate=1e-3", "grpo.max_steps=3", "grpo.max_clipped_steps=100",
    "rewards.components.checklist.gate=null", "data.constraints.count=[0,0,1]",
    "data.train=[{generator:basic_arithmetic,verified:false,size:96,seed:1,params:{min_terms:3,max_terms:3,min_digits:1,"
    "max_digits:1,operators:[+],allow_parentheses:false,allow_negation:false}}]",
]  # fmt: skip
REPLAYS = ["grpo.relabel.advantage=1.0", "grpo.relabel.least=0.3"]


def slot(**more: Any) -> dict[str, Any]:
    """Two rollouts of which the second is replayed behind a prompt of two tokens."""
    return {
        "prompt_ids": torch.tensor([[5, 6, 7], [5, 6, 7]]),
        "prompt_mask": torch.ones(2, 3, dtype=torch.long),
        "completion_ids": torch.tensor([[8, 9], [8, 0]]),
        "completion_mask": torch.tensor([[1, 1], [1, 0]]),
        "advantages": torch.tensor([0.5, -0.5]),
        "replay_prompt_ids": torch.tensor([[0, 0], [5, 7]]),
        "replay_prompt_mask": torch.tensor([[0, 0], [1, 1]]),
        "replay_advantages": torch.tensor([0.0, 2.0]),
        **more,
    }


def test_a_replay_is_a_row_of_its_own_with_the_same_completion() -> None:
    assert replayed([{name: value for name, value in slot().items() if not name.startswith("replay")}]) == []
    (own,) = replayed([slot(importance_sampling_ratio=torch.full((2, 2), 0.3))])
    rows = Rows.of([own])
    assert rows.completions == [0, 1] and rows.ids[1].tolist() == [5, 7, 8]
    assert rows.advantages.tolist() == [0.0, 2.0]
    assert own["importance_sampling_ratio"].tolist() == [[1.0, 1.0]] * 2, "it was drawn behind another prompt"
    assert "old_per_token_logps" not in own
    (later,) = replayed([slot(replay_old_per_token_logps=torch.full((2, 2), -1.0))])
    assert later["old_per_token_logps"].tolist() == [[-1.0, -1.0]] * 2


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_replays_of_a_generation_are_the_same_under_any_number_of_ranks(share: float) -> None:
    checks = ["punctuation:no_comma", "change_case:english_lowercase", "startend:quotation"]
    listed = [{"id": str(i), "text": f"Meet {i}.", "check": {"constraint": name}} for i, name in enumerate(checks)]
    bare = PromptItem("i", ({"role": "user", "content": "What is 2+3?"},), None)
    config, asked = compose_recipe([]).model, with_constraints(bare, parse_checklist(listed, where="test"))
    relabelling = Relabelling(
        RelabelConfig(advantage=1.0, least=0.3, share=share), [asked], load_tokenizer(config, config.path)
    )
    scores = [(1, 0, 0), (0, 0, 0), (1, 1, 1), (1, 0, 0), (1, 1, 0), (0, 1, 0), (1, 0, 1), (0, 1, 1)]
    rows = [
        {
            "item_id": "i",
            "correct": None,
            "followed": all(met),
            "finished": True,
            "requirements": [{"score": float(m)} for m in met],
        }
        for met in scores
    ]

    def advantages(ranks: int) -> list[float]:
        each = len(rows) // ranks
        own = {"completion_ids": torch.zeros(each, 2, dtype=torch.long)}
        found = [relabelling.replays(rows, rank * each, own) for rank in range(ranks)]
        for part in found:
            live = part["replay_advantages"] != 0.0
            assert torch.equal(part["replay_prompt_mask"].any(1), live), "a prompt for each replay and for no other"
        return [value for part in found for value in part["replay_advantages"].tolist()]

    best_first = [4, 6, 7, 0, 3, 5][: int(share * 8)]
    assert advantages(1) == [float(place in best_first) for place in range(8)]
    assert advantages(2) == advantages(4) == advantages(8) == advantages(1)


def run(root: Path, *overrides: str) -> Artifact:
    artifact = prepare(root, *LEARNS, *overrides)
    artifact.handoff.write_text('{"stopped": 1.0}')
    whole(artifact)
    return artifact


@pytest.mark.slow
def test_replays_change_the_weights_and_nothing_else(tmp_path: Path) -> None:
    plain, replays = run(tmp_path / "plain"), run(tmp_path / "replays", *REPLAYS)
    rows = [json.loads(line) for line in (replays.path / "metrics.jsonl").read_text().splitlines()]
    shares = [row["relabel/replayed"] for row in rows if "relabel/replayed" in row]
    assert len(shares) == 3 and 0.0 < max(shares) <= 0.5
    found = differences(plain, replays)
    assert any(text.startswith("weights") for text in found)
    first = next(i for i, share in enumerate(shares) if share > 0.0) + 1
    before = [text for text in found if text.startswith(tuple(f"step {n}:" for n in range(1, first)))]
    assert all("relabel/" in text for text in before)
    drawn = [text for text in found if text.startswith(f"step {first}: ") and "relabel/" not in text]
    assert {text.split()[2] for text in drawn} <= {"loss", "grad_norm"}, "the rollouts and their figures are the same"


@pytest.mark.slow
def test_stopped_at_every_step_it_ends_the_same(tmp_path: Path) -> None:
    several = ["grpo.gradient_accumulation=2", "+grpo.trl.num_iterations=2"]
    one = run(tmp_path / "whole", *REPLAYS, *several)
    other = prepare(tmp_path / "steps", *LEARNS, *REPLAYS, *several)
    other.handoff.write_text('{"stopped": 1.0}')
    assert step_by_step(other) == [1, 2]
    assert differences(one, other) == []


@pytest.mark.parametrize("word", ["grpo.exact_trl=true", "grpo.kl_coefficient=0.1"])
def test_what_cannot_work_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(ConfigError, match=r"grpo\.relabel\.advantage: replays are rows"):
        plan_run(["recipe=quickstart", "~arms", *REPLAYS, f"run.root={tmp_path}", "launcher.device=cpu", word])


def test_without_it_stages_keep_the_names_that_they_had(tmp_path: Path) -> None:
    def key(*words: str) -> str:
        run = plan_run(["recipe=quickstart", "~arms", f"run.root={tmp_path}", "launcher.device=cpu", *words])
        return next(stage.key for stage in run.graph.stages.values() if stage.kind == "grpo")

    assert key() != key("grpo.relabel.advantage=0.5")
    assert key() == key("grpo.relabel.least=0.7"), "it decides nothing while no failure is replayed"
