"""Reading rows of files: every kind, and every way a file can be broken."""

import gzip
import json
from pathlib import Path

import pytest

from adhere.prompts.item import read_items, read_rows, write_items
from adhere.rewards.errors import DataError

ROWS = [{"question": "1 + 1?", "answer": "2"}, {"question": "2 + 2? ünïcode", "answer": "4"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def _parquet(path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)


WRITERS = {
    "rows.jsonl": lambda path: path.write_text(LINES, encoding="utf-8"),
    "marked.jsonl": lambda path: path.write_text("\ufeff" + LINES + "\n", encoding="utf-8"),
    "rows.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES.encode())),
    "rows.json": lambda path: path.write_text(json.dumps(ROWS), encoding="utf-8"),
    "rows.parquet": _parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    rows = list(read_rows(tmp_path / name))
    assert [row.values for row in rows] == ROWS
    assert [row.where for row in rows] == [f"{tmp_path / name}:1", f"{tmp_path / name}:2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"question": "x"}\n{"question": \n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", b'{"question": "x"}\n{"x": ' + b"[" * 100_000, r"a\.jsonl:2: nested too deep"),
        ("a.jsonl", b'{"question": "x"}\n{"x": ' + b"1" * 5000 + b"}", r"a\.jsonl:2: cannot be read .*5000 digits"),
        ("a.jsonl", b'{"question": "x"}\n[1, 2]\n', r"a\.jsonl:2: a list, not an object"),
        ("a.jsonl", b'{"question": "x"}\n{"question": "\xff"}\n', r"a\.jsonl:\d: not UTF-8"),
        ("a.jsonl.gz", b"plain text", r"a\.jsonl\.gz: damaged gzip"),
        ("a.jsonl.gz", gzip.compress(LINES.encode() * 50, mtime=0)[:60], r"a\.jsonl\.gz: damaged gzip"),
        ("a.json", b'{"question": "x"}', r"a\.json: holds one dict"),
        ("a.parquet", b"not parquet", r"a\.parquet: not a parquet file"),
        ("a.csv", b"question,answer\n", r"a\.csv: not a kind of file"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(tmp_path / name))


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="is a folder"):
        read_rows(tmp_path)


RULE = {"type": "rule", "constraint": "punctuation:no_comma"}
REQUIREMENT = {"id": "c", "text": "Use no commas.", "check": RULE}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"messages": []}, "lacks messages"),
        ({"messages": [{"role": "user", "content": None}]}, r"messages\[0\] needs role and content"),
        ({"answer": ["2"]}, "answer is list"),
        ({"target": 5}, "target is int, not text"),
        ({"checklist": "no commas"}, "checklist is str, not a list"),
        ({"checklist": ["no commas"]}, r"checklist\[0\]: is str"),
        ({"checklist": [{"id": "c", "text": "Use no commas."}]}, r"checklist\[0\]: lacks check"),
        ({"checklist": [REQUIREMENT | {"weight": "high"}]}, r"checklist\[0\]\.weight: 'high' is not a number"),
        ({"checklist": [REQUIREMENT | {"weight": 101}]}, r"checklist\[0\]\.weight: 101 is not a number in \[0, 100\]"),
        ({"checklist": [REQUIREMENT | {"check": "no_comma"}]}, r"checklist\[0\]\.check: is str"),
        ({"checklist": [REQUIREMENT | {"check": RULE | {"type": "oracle"}}]}, r"\.check\.type: 'oracle' is not a kind"),
    ],
)
def test_a_malformed_item_is_named_with_its_line(tmp_path: Path, change: dict[str, object], message: str) -> None:
    good = {"messages": [{"role": "user", "content": "1 + 1?"}], "answer": "2"}
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | change) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"items\.jsonl:2: .*{message}"):
        read_items(path)


def test_items_survive_a_round_trip_and_an_item_without_id_is_named_after_its_line(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    rule = {"type": "rule", "constraint": "punctuation:no_comma", "kwargs": {}}
    row = {
        "messages": [{"role": "user", "content": "What is 1 + 1? Use no commas."}],
        "answer": 2,
        "checklist": [{"id": "c", "text": "Use no commas.", "weight": 50, "check": rule}],
    }
    path.write_text("\n" + json.dumps(row) + "\n", encoding="utf-8")
    (item,) = read_items(path)
    assert (item.id, item.answer, item.checklist[0].weight) == ("items/2", "2", 50.0)
    write_items(tmp_path / "again.jsonl", [item])
    assert read_items(tmp_path / "again.jsonl") == [item]
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="no prompt item"):
        read_items(tmp_path / "empty.jsonl")
