"""Responses from a file in place of a model: forms that are read, how rows find their prompts, and what is refused."""

import json
from pathlib import Path

import pytest

from adhere.evaluation.backends.replay import ReplayGenerator
from adhere.evaluation.generation import Sampling
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import DataError


def item(key: str, prompt: str, question: str = "") -> PromptItem:
    return PromptItem(key, ({"role": "user", "content": prompt},), None, question=question or prompt, meta={"key": key})


ITEMS = [item("10", "Name a river. No commas."), item("11", "Name a lake. "), item("s/12", "2+2?\nBox it.", "2+2?")]


def write(folder: Path, rows: list) -> Path:
    path = folder / "responses.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(folder: Path, rows: list, items=ITEMS) -> dict[str, list[str]]:
    loaded = ReplayGenerator.load(write(folder, rows), items, "m")
    return {key: [generation.text for generation in found] for key, found in loaded.found.items()}


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"prompt": "Name a lake.", "response": "X"}, "11"),
        ({"prompt": "\n Name a river. No commas. ", "response": "X"}, "10"),
        ({"key": 11, "response": "X"}, "11"),
        ({"key": "12", "response": "X"}, "s/12"),
        ({"id": "s/12", "response": "X"}, "s/12"),
        ({"question": "2+2?", "response": "X"}, "s/12"),
        ({"messages": [{"role": "user", "content": "Name a lake."}], "response": "X"}, "11"),
        ({"doc_id": 0, "doc": {"key": 10, "prompt": "Name a river. No commas."}, "target": "", "resps": [["X"]]}, "10"),
        ({"doc": {"question": "2+2?", "answer": "4"}, "resps": [["X"]], "filtered_resps": ["4"]}, "s/12"),
        ({"doc": {"query": "Question: 2+2?\nAnswer:"}, "model_response": {"text": ["X"]}, "metric": {}}, "s/12"),
        ({"full_prompt": "<user>Name a lake.<assistant>", "predictions": "['X']"}, "11"),
    ],
)
def test_a_row_finds_its_prompt(tmp_path, row, key):
    assert texts(tmp_path, [row]) == {key: ["X"]}


def test_what_is_left_over_is_counted(tmp_path):
    rows = [
        {"key": "10", "response": ""},
        {"prompt": "2+2?", "response": "4"},
        {"prompt": "Name a sea.", "response": "No"},
        {"key": "11", "prompt": "Name a lake!", "response": "Constance"},
    ]
    loaded = ReplayGenerator.load(write(tmp_path, rows[:3]), ITEMS, "m")
    assert loaded.counts == {"rows": 3, "unknown": 1, "missing": 1, "empty": 1, "reworded": 0}
    assert ReplayGenerator.load(write(tmp_path, rows), ITEMS, "m").counts["reworded"] == 1
    assert [g.text for (g,) in loaded.generate([ITEMS[0], ITEMS[2]], Sampling())] == ["", "4"]


def test_several_responses_to_every_prompt_are_samples(tmp_path):
    every = [{"key": i.meta["key"], "response": text} for i in ITEMS for text in "ab"]
    assert texts(tmp_path, every) == {i.id: ["a", "b"] for i in ITEMS}
    numbered = [{"key": "10", "sample": k, "response": str(k)} for k in range(3)] + [{"key": "11", "response": "x"}]
    assert texts(tmp_path, numbered) == {"10": ["0", "1", "2"], "11": ["x"]}
    drawn = {"doc": {"prompt": "Name a lake."}, "resps": [["a", "b", "c"]]}
    assert texts(tmp_path, [drawn]) == {"11": ["a", "b", "c"]}


def test_a_sample_that_is_written_once_for_each_filter_counts_once(tmp_path):
    rows = [
        {"doc": {"question": "2+2?", "id": "0"}, "resps": [["X"]], "filter": name, "filtered_resps": [name]}
        for name in ("strict-match", "flexible-extract")
    ]
    assert texts(tmp_path, rows) == {"s/12": ["X"]}


def test_items_of_one_prompt_get_its_rows_in_order(tmp_path):
    twins = [item("1", "Same?"), item("2", "Same?")]
    rows = [{"prompt": "Same?", "response": "a"}, {"prompt": "Same?", "response": "b"}]
    assert texts(tmp_path, rows, twins) == {"1": ["a"], "2": ["b"]}
    with pytest.raises(DataError, match="belongs to 2 items"):
        texts(tmp_path, rows[:1], twins)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"prompt": "Name a lake."}], ":1: has no response"),
        ([{"response": "X"}], ":1: has neither prompt nor key"),
        ([{"key": "10", "response": None}], ":1: the response is missing"),
        ([{"key": "10", "response": ["X"]}], ":1: the response is list, not text"),
        ([{"doc": {"key": 10}, "resps": [[None]]}], ":1: the response is missing"),
        ([{"key": "10", "response": "X", "tokens": "many"}], "tokens is 'many'"),
        ([{"key": "10", "response": "X", "finished": 1}], "finished is 1"),
        ([{"key": "10", "response": "X"}, {"key": "10", "response": "Y"}, {"key": "11", "response": "Z"}], "again"),
        ([{"key": "10", "prompt": "Prove Fermat's last theorem.", "response": "X"}], "another prompt"),
        ([{"prompt": "Something else.", "response": "X"}], "none of its 1 rows"),
        ([{"key": "10", "response": " "}, {"key": "11", "response": "\n"}], "every response is empty"),
        ([], "holds no responses"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, rows, says):
    with pytest.raises(DataError, match=r"responses\.jsonl") as caught:
        texts(tmp_path, rows)
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        ReplayGenerator.load(tmp_path / "none.jsonl", ITEMS, "m")
