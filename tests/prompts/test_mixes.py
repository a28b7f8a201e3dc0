"""Rows of the open mixes: three forms, from files and folders, and what becomes of what nobody here decides."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adhere.prompts.build import build
from adhere.prompts.config import DataConfig, SourceConfig
from adhere.prompts.item import PromptItem, parse_item
from adhere.prompts.sources import PromptStyle, load
from adhere.rewards.checklist.requirement import JudgeCheck
from adhere.rewards.errors import DataError

ASKED = [{"role": "user", "content": "Tell me about rain. Write without commas."}]
IFEVAL = {
    "key": 7, "prompt": "Tell me about rain in 3 bullets without commas.",
    "instruction_id_list": ["punctuation:no_comma", "detectable_format:number_bullet_lists"],
    "kwargs": [{}, {"num_bullets": 3.0, "keyword": None}],
}  # fmt: skip
TRUTH = (
    "[{'instruction_id': ['last_word:last_word_answer', 'punctuation:no_comma'], "
    "'kwargs': [{'last_word': 'brief'}, None]}]"
)
OPEN = {"key": "a1", "messages": ASKED, "ground_truth": TRUTH, "dataset": "ifeval", "constraint_type": "multi"}
WILD = {
    "prompt": "Plan a trip.",
    "requirements": (
        "1) Does the response avoid commas? (importance: 100/100)\n"
        "2) Does the plan name a river? (importance: 75/100)\n"
        "3) Does the plan have these parts:\n"
    ),
    "chosen": [{"role": "user", "content": "Plan a trip."}, {"role": "assistant", "content": "Go to the Rhine."}],
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, **keys: Any) -> list[PromptItem]:
    return load(SourceConfig(path=str(path), **keys), PromptStyle(system_prompt="never used here"))


def asked(item: PromptItem) -> list[tuple[str, dict[str, Any]]]:
    return [(rule.constraint, dict(rule.kwargs)) for requirement in item.checklist for rule in requirement.rules]


def test_an_ifeval_row_keeps_its_prompt_and_its_constraints(tmp_path: Path) -> None:
    (item,) = read(write(tmp_path / "rows.jsonl", IFEVAL))
    assert item.messages == ({"role": "user", "content": IFEVAL["prompt"]},)
    assert asked(item) == [("punctuation:no_comma", {}), ("detectable_format:number_bullet_lists", {"num_bullets": 3})]
    assert (item.id, item.answer, item.meta) == ("rows/1", None, {"mix": "ifeval", "key": 7})
    assert parse_item(item.to_dict(), "x") == item


@pytest.mark.parametrize(
    "truth",
    [TRUTH, [TRUTH], json.dumps([{"instruction_id": ["last_word:last_word_answer", "punctuation:no_comma"],
                                  "kwargs": [{"last_word": "brief"}, None]}])],
)  # fmt: skip
def test_an_open_instruct_row_is_read_in_each_of_its_spellings(tmp_path: Path, truth: Any) -> None:
    kinds = ["ifeval"] if isinstance(truth, list) else "IFEval"
    (item,) = read(write(tmp_path / "rows.jsonl", OPEN | {"ground_truth": truth, "dataset": kinds}))
    assert asked(item) == [("last_word:last_word_answer", {"last_word": "brief"}), ("punctuation:no_comma", {})]
    assert item.messages == tuple(ASKED) and item.answer is None


def test_open_instruct_answers_become_the_gold_and_both_may_stand_in_one_row(tmp_path: Path) -> None:
    both = OPEN | {"ground_truth": [TRUTH, "4 + 3 = 7\n#### 7"], "dataset": ["ifeval", "gsm8k"]}
    one, two = read(write(tmp_path / "rows.jsonl", OPEN | {"ground_truth": "\\frac{1}{2}", "dataset": "MATH"}, both))
    assert (one.answer, one.checklist) == ("\\frac{1}{2}", ())
    assert two.answer == "7" and len(two.checklist) == 2


def test_wildchecklists_become_weighted_requirements_of_rules_and_judges(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="line that only opens a list"):
        (item,) = read(write(tmp_path / "rows.jsonl", WILD))
    comma, river = item.checklist
    assert comma.rule is not None and comma.rule.constraint == "punctuation:no_comma" and comma.weight == 100.0
    assert isinstance(river.check, JudgeCheck) and (river.text, river.weight) == ("Does the plan name a river?", 75.0)
    assert item.solution == "Go to the Rhine."


@pytest.mark.parametrize("suffix", ["parquet", "folder"])
def test_parquet_files_and_saved_data_sets_are_read_alike(tmp_path: Path, suffix: str) -> None:
    datasets = pytest.importorskip("datasets")
    other = IFEVAL | {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["rain", "river"]}]}
    rows = [{key: row[key] for key in ("prompt", "instruction_id_list", "kwargs")} for row in (IFEVAL, other)]
    if suffix == "parquet":
        import pyarrow
        import pyarrow.parquet

        path = tmp_path / "rows.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        items = read(path)
    else:
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "rows")
        items = load(SourceConfig(dataset=str(tmp_path / "rows")), PromptStyle())
    assert [name for item in items for name, _ in asked(item)] == [
        "punctuation:no_comma", "detectable_format:number_bullet_lists", "keywords:existence",
    ]  # fmt: skip


UNKNOWN = IFEVAL | {"instruction_id_list": ["punctuation:no_comma", "words:vowel"]}


def test_an_unknown_constraint_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", IFEVAL, UNKNOWN)
    with pytest.raises(DataError, match=r"rows\.jsonl:2: .*'words:vowel'.*unknown_constraints"):
        read(path)


@pytest.mark.parametrize(("policy", "sizes"), [("skip", [2, 1]), ("skip_row", [2])])
def test_unknown_constraints_are_left_out_counted_and_warned_of(tmp_path: Path, policy: str, sizes: list[int]) -> None:
    path = write(tmp_path / "rows.jsonl", IFEVAL, UNKNOWN)
    skipped: Counter[str] = Counter()
    with pytest.warns(UserWarning, match=r"source 'rows': left out constraint 'words:vowel' \(1x\)"):
        items = load(SourceConfig(path=str(path), unknown_constraints=policy), PromptStyle(), skipped)
    assert [len(item.checklist) for item in items] == sizes
    assert skipped["constraint 'words:vowel'"] == 1 and skipped["row"] == 2 - len(sizes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (IFEVAL | {"kwargs": [{}]}, "2 constraint ids and 1 arguments"),
        (IFEVAL | {"instruction_id_list": "punctuation:no_comma"}, "list of ids"),
        (IFEVAL | {"kwargs": [{}, {"num_bullets": 0}]}, "outside"),
        (IFEVAL | {"kwargs": "[{}, {"}, "neither JSON nor"),
        (IFEVAL | {"instruction_id_list": [], "kwargs": []}, "neither a requirement nor a gold"),
        (IFEVAL | {"prompt": " "}, "the prompt is empty"),
        (IFEVAL | {"prompt": 3}, "neither text nor a list"),
        (OPEN | {"ground_truth": "__import__('os').system('x')"}, "neither JSON nor"),
        (OPEN | {"dataset": "code"}, "verifier that is not known"),
        (OPEN | {"dataset": ["ifeval", "gsm8k"], "ground_truth": ["1", "2", "3"]}, "3 values of ground_truth and 2"),
        (OPEN | {"dataset": ["math", "gsm8k"], "ground_truth": ["1", "2"]}, "two gold answers"),
        (OPEN | {"ground_truth": "{'func_name': 'validate_json'}"}, "no instruction_id"),
        (WILD | {"requirements": "no list"}, "cannot read the line"),
        (WILD | {"requirements": "1) Is it short? (importance: 140/100)"}, "cannot read the line"),
        (WILD | {"requirements": ["Is it short?"]}, "not text"),
    ],
)
def test_rows_that_do_not_have_their_form_name_the_file_and_line(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{message}"):
        read(write(tmp_path / "rows.jsonl", row))


def test_when_all_rows_are_left_out_the_reasons_are_named(tmp_path: Path) -> None:
    row = UNKNOWN | {"instruction_id_list": ["words:vowel", "words:vowel"]}
    with pytest.raises(DataError, match=r"each of its 1 rows was left out: constraint 'words:vowel' \(2x\)"):
        read(write(tmp_path / "rows.jsonl", row), unknown_constraints="skip")


def test_a_form_that_the_columns_do_not_have_and_a_form_with_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'messages'; format open_instruct"):
        read(write(tmp_path / "rows.jsonl", IFEVAL), format="open_instruct")
    with pytest.raises(ValidationError, match="remove columns"):
        SourceConfig(path="x.jsonl", format="ifeval", columns={"question": "prompt"})


def test_training_leaves_out_rows_that_name_words_of_mathif(tmp_path: Path) -> None:
    ids = {"instruction_id_list": ["keywords:existence"]}
    held = IFEVAL | ids | {"prompt": "Use a word.", "kwargs": [{"keywords": ["theorem"]}]}
    path = write(tmp_path / "rows.jsonl", held, IFEVAL | ids | {"kwargs": [{"keywords": ["river"]}]})
    config = DataConfig.model_validate({"train": [{"path": str(path)}], "decontaminate": False})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built = build(config, "train")
    assert [item.id for item in built.items] == ["rows/2"]
    assert built.report["mathif_keywords"] == {"checked": 1, "found": 0, "removed": {"rows": 1}}
