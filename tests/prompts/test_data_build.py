"""A data configuration becomes items and a report: exact sizes, the same every time, nothing leaked."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adhere.prompts.build import Built, build
from adhere.prompts.config import DataConfig
from adhere.prompts.fingerprint import fingerprint
from adhere.rewards.constraints import MATHIF_KEYWORDS
from adhere.rewards.errors import DataError
from adhere.train.config.compose import compose_recipe

GSM8K = str(Path(__file__).parents[1] / "data" / "gsm8k_64.jsonl")
SUMS = {"generator": "chain_sum", "size": 80, "params": {"min_terms": 2, "max_terms": 3, "max_digits": 1}}
CONFIG: dict[str, Any] = {
    "train": [{"path": GSM8K, "limit": 48, "weight": 1.0}, {**SUMS, "weight": 2.0}],
    "evaluation": [{"path": GSM8K, "skip": 48}, {**SUMS, "seed": 1, "size": 20}],
    "train_size": 60,
}


def config(**keys: Any) -> DataConfig:
    return DataConfig.model_validate({**CONFIG, **keys})


def train(**keys: Any) -> Built:
    return build(config(**keys), "train", with_targets=True)


def test_a_mixture_has_exact_counts_targets_and_a_report() -> None:
    built = train()
    assert built.report["by_source"] == {"chain_sum": 40, "gsm8k_64": 20}
    assert all(item.target and item.checklist for item in built.items)
    assert built.report["loaded"] == {"gsm8k_64": 48, "chain_sum": 80}
    assert built.report["mathif_keywords"]["found"] == 0
    assert sum(built.report["by_constraint_count"].values()) == 60
    json.dumps(built.report)


def test_building_twice_gives_the_same_items_and_another_seed_another_order() -> None:
    assert train() == train()
    other = train(seed=1).items
    assert [item.id for item in other] != [item.id for item in train().items]


def test_an_items_constraints_do_not_change_with_size_or_weights() -> None:
    few = {item.id: item for item in train(train_size=12).items}
    many = {item.id: item for item in train().items}
    assert few and all(many[name] == item for name, item in few.items())


def test_evaluation_questions_are_kept_out_of_training() -> None:
    built = train(train_size=None, train=[{"path": GSM8K}, SUMS])
    asked = {item.question for item in build(config(), "evaluation").items}
    assert not asked & {item.question for item in built.items}
    assert built.report["decontamination"]["removed_by_source"]["gsm8k_64"] == 16
    with pytest.raises(DataError, match="each of 16 questions overlaps"):
        train(train=[{"path": GSM8K, "skip": 48}], train_size=None)


@pytest.mark.slow
def test_a_source_that_runs_short_is_named() -> None:
    with pytest.raises(DataError, match=r"train_size: 300 items .*'gsm8k_64' has 48 of 100"):
        train(train_size=300)


def test_long_prompts_make_room_for_others_and_are_counted() -> None:
    with pytest.raises(DataError, match="count_tokens"):
        train(max_prompt_tokens=50)

    def words(item: Any) -> int:
        return len(item.messages[-1]["content"].split())

    limited = config(max_prompt_tokens=90, train_size=30)
    built = build(limited, "train", count_tokens=words)
    assert len(built.items) == 30
    assert max(words(item) for item in built.items) <= 90
    assert built.report["too_long"]["dropped"]["gsm8k_64"] > 0


def test_held_out_evaluation_asks_for_what_training_never_shows() -> None:
    hold_out = {"ids": ["startend:quotation", "change_case:english_capital"]}
    both = [{"path": GSM8K, "skip": 48}, {"path": GSM8K, "skip": 48, "held_out": True}]
    keys: dict[str, Any] = {"constraints": {"hold_out": hold_out}, "evaluation": both}
    shown = {r.id for item in train(**keys).items for r in item.checklist}
    assert not shown & set(hold_out["ids"])
    evaluation = build(config(**keys), "evaluation")
    assert evaluation.report["by_source"] == {"gsm8k_64": 16, "gsm8k_64+held_out": 16}
    for item in evaluation.items:
        assert (item.source == "gsm8k_64+held_out") == ({r.id for r in item.checklist} <= set(hold_out["ids"]))


def test_items_that_bring_a_checklist_keep_it(tmp_path: Path) -> None:
    rule = {"type": "rule", "constraint": "keywords:existence", "kwargs": {"keywords": ["WORD"]}}
    row = {
        "messages": [{"role": "user", "content": "What is 1 + 1?"}],
        "answer": "2",
        "checklist": [{"id": "own", "text": "Say it.", "check": rule}],
    }
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(row).replace("WORD", "banana"), encoding="utf-8")
    only = {"train": [{"path": str(path)}], "train_size": None}
    assert [r.id for r in build(config(**only), "train").items[0].checklist] == ["own"]
    path.write_text(json.dumps(row).replace("WORD", sorted(MATHIF_KEYWORDS)[0]), encoding="utf-8")
    with pytest.raises(DataError, match="MathIF's keywords"):
        build(config(**only), "train")


def test_bad_golds_stop_the_build_or_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "golds.jsonl"
    rows = [{"question": f"What is {n} + 0?", "answer": str(n)} for n in range(9)]
    rows.append({"question": "Why is it?", "answer": "\\frac{1}{"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    only = {"train": [{"path": str(path)}], "train_size": None}
    built = build(config(**only, max_bad_gold=0.1), "train")
    assert built.report["bad_gold"]["golds"]["dropped"] == {"golds": 1}
    with pytest.raises(DataError, match="1 of 10 gold answers"):
        build(config(**only), "train")


def test_no_solutions_and_no_sources_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl"
    path.write_text('{"question": "What is 1 + 1?", "answer": "2"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"columns\.solution"):
        train(train=[{"path": str(path)}], train_size=None)
    with pytest.raises(DataError, match="evaluation: no source"):
        build(config(evaluation=[]), "evaluation")


def test_a_configuration_written_out_in_full_is_read_back() -> None:
    whole = config(constraints={"hold_out": {"ranges": {"num_bullets": [4, 5]}}})
    again = DataConfig.model_validate(json.loads(json.dumps(whole.model_dump(mode="json"))))
    assert again == whole
    assert fingerprint(again) == fingerprint(whole)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train": []}, "train"),
        ({"train_size": None}, "train_size: proportions need"),
        ({"train": [{"path": "a.jsonl"}, {"path": "b/a.jsonl"}]}, "two sources are called 'a'"),
        ({"train": [{"path": "a.jsonl", "held_out": True}]}, r"train\[0\]\.held_out"),
        ({"evaluation": [{"path": "a.jsonl", "held_out": True}]}, r"evaluation\[0\]\.held_out"),
        ({"constraints": {"count": [0, 0]}}, "not proportions"),
        ({"constraints": {"ranges": {"num_words": [9, 3]}}}, "9 is above 3"),
        ({"targets": {"template": "It is {answer}."}}, "boxed"),
        ({"trian": []}, "trian"),
    ],
)
def test_contradictory_configurations_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**keys)


def test_the_fingerprint_follows_content_and_not_place(tmp_path: Path) -> None:
    here, there = tmp_path / "rows.jsonl", tmp_path / "other" / "rows.jsonl"
    there.parent.mkdir()
    for path in (here, there):
        path.write_text('{"question": "1 + 1?", "answer": "2"}\n', encoding="utf-8")

    def of(path: Path, role: Any = "train", **keys: Any) -> str:
        return fingerprint(config(train=[{"path": str(path)}], train_size=None, **keys), role)

    assert of(here) == of(there)
    assert of(here) != of(here, seed=1)
    before, evaluation = of(here), of(here, "evaluation")
    here.write_text('{"question": "1 + 2?", "answer": "3"}\n', encoding="utf-8")
    assert of(here) != before
    assert of(here, "evaluation") == evaluation
    assert of(here, "evaluation", targets={"compliance": 0.9}) == evaluation
    with pytest.raises(DataError, match="no such file"):
        of(tmp_path / "absent.jsonl")


def test_nothing_heavy_is_imported_for_keys_and_generated_data() -> None:
    code = f"""
import sys
from adhere.prompts.build import build
from adhere.prompts.config import DataConfig
from adhere.prompts.fingerprint import fingerprint
config = DataConfig.model_validate({{"train": [{{"path": {GSM8K!r}}}]}})
fingerprint(config)
assert not {{"torch", "transformers", "datasets", "reasoning_gym"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_the_quickstarts_items_are_those_that_its_published_figures_were_measured_on() -> None:
    config = compose_recipe(["data.train_size=200"]).data.model_copy(update={"max_prompt_tokens": None})
    rows = [item.to_dict() for item in build(config, "train", with_targets=True).items]
    assert (
        hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
        == "b4154f2a919ee908673ae70694751fc779a375a15ad4a20e16aaa82fe0d4fbf1"
    )


def test_a_mixture_of_prompts_that_only_ask_for_an_answer_and_prompts_that_only_have_requirements() -> None:
    built = train(
        train=[{"path": GSM8K, "label": "maths", "constrained": False}, {**SUMS, "label": "told", "verified": False}],
        train_size=40,
    )
    maths = [item for item in built.items if item.source == "maths"]
    told = [item for item in built.items if item.source == "told"]
    assert len(maths) == len(told) == 20
    assert all(item.answer is not None and not item.checklist for item in maths)
    assert all(item.answer is None and item.checklist for item in told)
    # The targets of the second half are still made from, and checked against, the gold answer.
    assert all(item.target for item in built.items)


def test_shuffled_requirements_are_those_of_another_prompt() -> None:
    plain = {item.id: item for item in train(train=[SUMS], train_size=40).items}
    mixed = {item.id: item for item in train(train=[{**SUMS, "shuffled": True}], train_size=40).items}
    assert plain.keys() == mixed.keys()
    assert all(
        mixed[name].messages == item.messages and mixed[name].target == item.target for name, item in plain.items()
    )
    assert all(mixed[name].checklist != item.checklist for name, item in plain.items())
    wanted = sorted(str(item.checklist) for item in plain.values())
    assert wanted == sorted(str(item.checklist) for item in mixed.values())


def test_a_held_out_source_without_constraints_is_refused() -> None:
    with pytest.raises(ValidationError, match="held_out: attaches constraints"):
        train(train=[{**SUMS, "held_out": True, "constrained": False}])
