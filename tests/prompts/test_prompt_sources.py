"""Loading items: raw rows, prompt items, data sets on disk, generated problems."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adhere.prompts.config import SourceConfig
from adhere.prompts.item import PromptItem
from adhere.prompts.procedural import worked_sum
from adhere.prompts.sources import PromptStyle, load
from adhere.rewards.errors import DataError

GSM8K = Path(__file__).parents[1] / "data" / "gsm8k_64.jsonl"


def source(**keys: Any) -> list[PromptItem]:
    return load(SourceConfig(**keys), PromptStyle())


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_gsm8k_rows_become_gold_and_clean_solution() -> None:
    items = source(path=str(GSM8K))
    assert len(items) == 64
    first = items[0]
    assert first.answer == "72"
    assert first.id == "gsm8k_64/1"
    assert first.source == "gsm8k_64"
    assert first.solution == (
        "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether in April and May."
    )
    assert first.messages[-1]["content"] == f"{first.question}\nPut the final answer in \\boxed{{}}."
    assert not any("<<" in (item.solution or "") or "####" in (item.solution or "") for item in items)


def test_skip_and_limit_choose_rows() -> None:
    items = source(path=str(GSM8K), skip=60, limit=10)
    assert [item.id for item in items] == [f"gsm8k_64/{n}" for n in (61, 62, 63, 64)]
    with pytest.raises(DataError, match="holds no rows"):
        source(path=str(GSM8K), skip=64)


def test_columns_can_be_mapped_and_a_wrong_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"exercise": "1 + 1?", "key": 2, "nr": "a"})
    columns = {"question": "exercise", "answer": "key", "id": "nr"}
    (item,) = source(path=path, columns=columns)
    assert (item.id, item.question, item.answer, item.solution) == ("rows/a", "1 + 1?", "2", None)
    with pytest.raises(DataError, match=r"rows\.jsonl:1: no column 'exercises'.*did you mean 'exercise'"):
        source(path=path, columns={"question": "exercises"})
    with pytest.raises(DataError, match=r"rows\.jsonl:1: no column for the question"):
        source(path=path)
    with pytest.raises(ValidationError, match=r"columns\.qestion.*did you mean 'question'"):
        SourceConfig(path=path, columns={"qestion": "exercise"})


def test_rows_that_cannot_be_used_name_file_and_line(tmp_path: Path) -> None:
    good = {"question": "1 + 1?", "answer": "2"}
    with pytest.raises(DataError, match=r"a\.jsonl:2: column 'question' is empty"):
        source(path=write(tmp_path / "a.jsonl", good, {"question": " ", "answer": "2"}))
    with pytest.raises(DataError, match=r"b\.jsonl:2: column 'answer' holds a list"):
        source(path=write(tmp_path / "b.jsonl", good, {"question": "x", "answer": ["2"]}))
    with pytest.raises(DataError, match=r"c\.jsonl:2: no column 'answer'"):
        source(path=write(tmp_path / "c.jsonl", good, {"question": "x"}), columns={"answer": "answer"})
    with pytest.raises(DataError, match="id 'd/x' occurs twice"):
        source(path=write(tmp_path / "d.jsonl", good | {"id": "x"}, good | {"id": "x"}))


def test_prompt_items_are_taken_as_they_are(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Say hello."}], "answer": None, "source": "chat"}
    (item,) = source(path=write(tmp_path / "items.jsonl", row))
    assert (item.id, item.source, item.answer, item.question) == ("items/1", "chat", None, "Say hello.")
    with pytest.raises(DataError, match=r"bad\.jsonl:1: messages\[0\]"):
        source(path=write(tmp_path / "bad.jsonl", {"messages": [{"role": "user"}]}))


def test_style_sets_the_system_message_and_the_instruction() -> None:
    messages = PromptStyle("Be brief.", "").messages("1 + 1?")
    assert messages == ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"})


def test_a_data_set_saved_to_disk_and_a_folder_of_files_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [json.loads(line) for line in GSM8K.read_text(encoding="utf-8").splitlines()[:4]]
    saved, folder = tmp_path / "saved", tmp_path / "folder"
    split = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"train": split, "test": split.select([3])}).save_to_disk(saved)
    folder.mkdir()
    write(folder / "train.jsonl", *rows)
    expected = [item.answer for item in source(path=str(GSM8K), limit=4)]
    for place in (saved, folder):
        assert [item.answer for item in source(dataset=str(place))] == expected
    assert [item.id for item in source(dataset=str(saved), split="test")] == ["saved/test/1"]
    assert [item.id for item in source(dataset=str(saved), skip=1, limit=2)] == [
        "saved/train/2",
        "saved/train/3",
    ]
    with pytest.raises(DataError, match=r"no split 'tset' \(it has train, test\).*did you mean 'test'"):
        source(dataset=str(saved), split="tset")
    with pytest.raises(DataError, match="split validation"):
        source(dataset=str(folder), split="validation")


def test_known_data_sets_need_neither_name_nor_split_nor_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for folder in ("openai/gsm8k/main", "HuggingFaceH4/MATH-500"):
        Path(folder).mkdir(parents=True)
    card = "---\nconfigs:\n- config_name: main\n  data_files: main/*.jsonl\n---\n"
    Path("openai/gsm8k/README.md").write_text(card, encoding="utf-8")
    write(Path("openai/gsm8k/main/train.jsonl"), {"question": "1 + 1?", "answer": "1 + 1 = <<1+1=2>>2\n#### 2"})
    row = {
        "problem": "Half?",
        "answer": "\\frac{1}{2}",
        "solution": "It is \\boxed{\\frac{1}{2}}.",
        "unique_id": "a",
    }
    write(Path("HuggingFaceH4/MATH-500/test.jsonl"), row)
    (item,) = source(dataset="openai/gsm8k")
    assert (item.id, item.answer, item.solution) == ("gsm8k/train/1", "2", "1 + 1 = 2")
    (item,) = source(dataset="HuggingFaceH4/MATH-500")
    assert (item.id, item.question, item.solution) == ("MATH-500/test/1", "Half?", row["solution"])


def test_a_data_set_that_cannot_be_reached_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="save_to_disk"):
        source(dataset="no-such-owner/no-such-data")


def test_generated_sums_have_worked_solutions_and_are_seeded() -> None:
    keys: dict[str, Any] = {"generator": "chain_sum", "size": 20, "params": {"min_terms": 3, "max_terms": 3}}
    items = source(**keys)
    assert items == source(**keys)
    assert len({item.id for item in items} | {item.id for item in source(**keys, seed=1)}) == 40
    for item in items:
        assert item.answer is not None and item.solution is not None
        assert item.solution.endswith(f"= {item.answer}.")
    assert not {item.question for item in items} & {item.question for item in source(**keys, seed=1)}


def test_a_generators_metadata_can_be_the_question() -> None:
    (item,) = source(generator="chain_sum", size=1, columns={"question": "expression"}, label="sums")
    assert set(item.question) <= set("0123456789+- ")
    assert item.id == "sums/0-0"


def test_gsm_symbolic_brings_its_solution() -> None:
    items = source(generator="gsm_symbolic", size=5, seed=3)
    assert all(item.solution and "####" not in item.solution for item in items)
    assert all(str(item.answer) in (item.solution or "").splitlines()[-1] for item in items)


def test_unknown_generators_and_arguments_name_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'chain_sum'"):
        source(generator="chainsum", size=1)
    with pytest.raises(DataError, match=r"params\.max_term .*did you mean 'max_terms'"):
        source(generator="chain_sum", size=1, params={"max_term": 3})
    with pytest.raises(DataError, match="were refused"):
        source(generator="chain_sum", size=1, params={"min_terms": 5, "max_terms": 3})


@pytest.mark.parametrize(
    ("expression", "solution"),
    [
        ("4 + 3 - 2", "4 + 3 = 7. 7 - 2 = 5."),
        ("57.5 - 60.25", "57.5 - 60.25 = -2.75."),
        ("2 * 3 + 1", None),
        ("( 1 + 2 ) - 3", None),
        ("7", None),
        ("", None),
    ],
)
def test_worked_sums(expression: str, solution: str | None) -> None:
    assert worked_sum(expression) == solution


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "one of path, dataset and generator"),
        ({"path": "a.jsonl", "dataset": "x/y"}, "path and dataset"),
        ({"generator": "chain_sum"}, "size"),
        ({"path": "a.jsonl", "size": 3}, "size: has no meaning"),
        ({"generator": "chain_sum", "size": 3, "skip": 1}, "skip: has no meaning"),
    ],
)
def test_contradictory_sources_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceConfig(**keys)


@pytest.mark.parametrize("column", ["checklist", "constraints"])
def test_constraints_that_no_prompt_asks_for_are_refused(tmp_path: Path, column: str) -> None:
    rows = write(tmp_path / "p.jsonl", {"question": "1 + 1?", "answer": "2", column: [{"id": "punctuation:no_comma"}]})
    with pytest.raises(DataError, match=f"p.jsonl:1: has {column} but no messages"):
        source(path=rows)
    assert source(path=rows, columns={"question": "question"})[0].checklist == ()


HALF = {
    "question": {"question": "What is \ud83d?", "answer": "4"},
    "answer": {"question": "2 + 2?", "answer": "4\udc00"},
    "solution": {"question": "2 + 2?", "answer": "4", "solution": "\ud800 so 4"},
    "messages": {"messages": [{"role": "user", "content": "2 + \ud800 2?"}], "answer": "4", "question": "2 + 2?"},
    "target": {"messages": [{"role": "user", "content": "2 + 2?"}], "target": "4 \ude00\ud83d"},
    "checklist": {
        "messages": [{"role": "user", "content": "2 + 2?"}],
        "checklist": [{"id": "a", "text": "Is it \ud800?", "check": {"type": "judge"}}],
    },
    "id": {"messages": [{"role": "user", "content": "2 + 2?"}], "id": "\ud800"},
}


@pytest.mark.parametrize("field", HALF)
def test_half_of_a_character_is_refused_with_its_row(tmp_path: Path, field: str) -> None:
    file = write(tmp_path / "rows.jsonl", {"question": "1 + 1?", "answer": "2"}, HALF[field])
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: {field} holds '\\ud.{{3}}', half of a character; repair"):
        source(path=file)


@pytest.mark.parametrize("text", ["\N{GRINNING FACE}", "\ufffd", "\\ud800", "\0", "e\u0301"])
def test_whole_characters_are_taken_as_they_are(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "rows.jsonl", {"question": f"What is {text}?", "answer": "2"})
    assert source(path=file)[0].question == f"What is {text}?"
