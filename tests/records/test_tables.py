"""Files of a run under their final names are whole; tables have the columns that their readers expect."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow.parquet
import pytest

from adhere.records.artifact import Artifact
from adhere.records.jsonl import dump, read_jsonl
from adhere.records.objects import read_object
from adhere.records.tables import (
    RESPONSE_COLUMNS,
    ROLLOUT_COLUMNS,
    components_of,
    read_responses,
    read_rollout_files,
    rollout_files,
    rollout_step,
    write_responses,
    write_rollouts,
)  # fmt: skip
from adhere.rewards.errors import DataError, StageError
from adhere.rewards.files import atomic_file


def test_text_bytes_and_gzip_take_their_name_when_the_block_ends(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "new" / "a.jsonl.gz") as out:
        out.write("häkchen ✓\n")
        assert not (tmp_path / "new" / "a.jsonl.gz").exists()
    with gzip.open(tmp_path / "new" / "a.jsonl.gz", "rt", encoding="utf-8") as file:
        assert file.read() == "häkchen ✓\n"
    with atomic_file(tmp_path / "b.bin", "wb") as raw:
        raw.write(b"\x00\xff")
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.jsonl.gz", "b.bin"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_block_that_fails_leaves_what_was_there_and_its_own_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old", encoding="utf-8")
    with pytest.raises(FileNotFoundError), atomic_file(path) as out:
        out.write("half")
        (tmp_path / "missing").read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_name_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(StageError, match=r"there: cannot be written \(.*\); choose another folder"):  # noqa: SIM117
        with atomic_file(tmp_path / "there") as out:
            out.write("text")
    assert [file.name for file in tmp_path.iterdir()] == ["there"]


def test_lines_are_read_while_they_are_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_jsonl(path).rows == []
    path.write_bytes(b'{"a": 1}\n[2]\n\xff\n{"b": "x\xe2\x80\xa8y"}\n{"c": ')
    found = read_jsonl(path)
    assert (found.rows, found.unreadable) == ([{"a": 1}, {"b": "x\u2028y"}], [2, 3])
    assert path.read_bytes()[found.whole :] == b'{"c": '


def test_the_end_of_a_long_file_begins_at_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in range(100)), encoding="utf-8")
    line = len('{"step": 99}\n')
    assert [row["step"] for row in read_jsonl(path, tail=2 * line).rows] == [98, 99]
    assert [row["step"] for row in read_jsonl(path, tail=2 * line + 5).rows] == [98, 99]
    assert len(read_jsonl(path, tail=10**6).rows) == 100


def test_a_row_keeps_half_a_surrogate_and_refuses_nan() -> None:
    assert json.loads(dump({"text": "\ud800 ü"})) == {"text": "\ud800 ü"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump({"x": float("nan")})


def test_rollouts_come_back_with_their_types(tmp_path: Path) -> None:
    row = dict.fromkeys(ROLLOUT_COLUMNS) | {
        "step": 3, "group": 0, "tokens": 5, "requirements": [{"id": "c", "text": "t", "score": 1, "status": "ok"}],
        "math_score": None, "math_status": "timeout", "math_detail": "", "math_value": 0.5,
    }  # fmt: skip
    write_rollouts(tmp_path, 3, [row, row])
    write_rollouts(tmp_path, 12, [row])
    files = rollout_files(tmp_path)
    assert [file.name for file in files] == ["step_000003.parquet", "step_000012.parquet"]
    assert [rollout_step(file) for file in files] == [3, 12]
    table = read_rollout_files(files)
    assert table.num_rows == 3 and components_of(table.column_names) == ["math"]
    assert {str(table.schema.field(name).type) for name in ("math_score", "math_value", "advantage")} == {"double"}
    assert table.column("requirements").to_pylist()[0][0] == {
        "id": "c", "text": "t", "score": 1.0, "status": "ok", "detail": None,
    }  # fmt: skip


def test_generations_that_feed_one_step_do_not_overwrite_each_other(tmp_path: Path) -> None:
    row = dict.fromkeys(ROLLOUT_COLUMNS) | {"step": 3, "group": 0, "tokens": 5, "requirements": []}
    for nth in (10, 0, 1, 2):
        write_rollouts(tmp_path, 3, [row | {"batch": nth}], nth=nth)
    write_rollouts(tmp_path, 4, [row | {"batch": 11}])
    files = rollout_files(tmp_path)
    assert [rollout_step(file) for file in files] == [3, 3, 3, 3, 4]
    assert read_rollout_files(files).column("batch").to_pylist() == [0, 1, 2, 10, 11]


def test_responses_of_another_version_are_not_misread(tmp_path: Path) -> None:
    path = tmp_path / "responses.parquet"
    with pytest.raises(DataError, match="no such file"):
        read_responses(path)
    path.write_bytes(b"PAR1 cut off")
    with pytest.raises(DataError, match="cannot be read"):
        read_responses(path)
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a"]}), path)
    with pytest.raises(DataError, match="has no column 'source': another version wrote it"):
        read_responses(path)


def test_a_manifest_says_which_version_wrote_it_and_a_later_one_is_refused(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "sft-0")
    assert artifact.manifest() == {}
    artifact.finish({"kind": "sft"})
    assert artifact.manifest() == {"kind": "sft", "schema": 3}
    (artifact.path / "manifest.json").write_text('{"kind": "sft"}', encoding="utf-8")
    assert artifact.manifest() == {"kind": "sft"}  # schema 1
    (artifact.path / "manifest.json").write_text('{"schema": 9}', encoding="utf-8")
    with pytest.raises(DataError, match="has schema 9"):
        artifact.manifest()


@pytest.mark.parametrize(("name", "text"), [("a.json", "[1]"), ("a.json", "{"), ("a.yaml", "- 1"), ("a.yaml", "{")])
def test_a_file_that_does_not_hold_an_object_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=name):
        read_object(tmp_path / name)


def test_half_a_character_of_a_reply_becomes_the_replacement_character(tmp_path: Path) -> None:
    row = dict.fromkeys(RESPONSE_COLUMNS) | {"id": "a", "response": "\ud800 4", "verdicts": [
        {"id": "c", "score": 0.0, "status": "ok", "detail": "no '\udc00'"}]}  # fmt: skip
    write_responses(tmp_path / "responses.parquet", [row, {**row, "response": "\N{GRINNING FACE}"}])
    first, second = read_responses(tmp_path / "responses.parquet")
    assert (first["response"], second["response"]) == ("\ufffd 4", "\N{GRINNING FACE}")
    assert first["verdicts"][0]["detail"] == "no '\ufffd'"

    rollout = dict.fromkeys(ROLLOUT_COLUMNS) | {
        "step": 0, "response": "x\ud83d", "requirements": [{"id": "c", "text": "\ud800", "score": 1, "status": "ok"}],
    }  # fmt: skip
    write_rollouts(tmp_path, 0, [rollout])
    table = read_rollout_files(rollout_files(tmp_path)).to_pylist()
    assert (table[0]["response"], table[0]["requirements"][0]["text"]) == ("x\ufffd", "\ufffd")
