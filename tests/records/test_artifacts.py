"""The artifact: nobody reads half of a file, an incomplete checkpoint is never resumed from, DONE comes last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adhere.records.artifact import Artifact, checkpoint_damage, newest_checkpoint, seal_checkpoint
from adhere.records.objects import write_yaml
from adhere.rewards.errors import DataError, StageError
from adhere.rewards.files import write_json, write_text

ROOT = Path(__file__).parents[2]


def test_an_artifact_is_done_when_its_manifest_is_written(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "sft-0123")
    assert not artifact.done
    (artifact.checkpoints / "checkpoint-1").mkdir(parents=True)
    artifact.finish({"kind": "sft", "label": "häkchen ✓"})
    assert artifact.done
    assert json.loads((artifact.path / "manifest.json").read_text(encoding="utf-8"))["label"] == "häkchen ✓"
    assert not artifact.checkpoints.exists()


def test_the_newest_complete_checkpoint_is_resumed_from_and_incomplete_ones_go(tmp_path: Path) -> None:
    for step in (9, 50, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (9, 50):
        (tmp_path / f"checkpoint-{step}" / "COMPLETE").touch()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-50"
    assert not (tmp_path / "checkpoint-100").exists()


def test_without_a_complete_checkpoint_training_starts_anew(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "none") is None
    (tmp_path / "checkpoint-3").mkdir()
    assert newest_checkpoint(tmp_path) is None


def test_every_file_of_a_checkpoint_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint-7"
    (checkpoint / "global_step7").mkdir(parents=True)
    files = {checkpoint / "model.safetensors", checkpoint / "global_step7" / "shard.pt"}
    for file in files:
        file.write_bytes(b"weights")
    synced: list[Path] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        assert not (checkpoint / "COMPLETE").exists() or synced[-1].name.startswith(".COMPLETE")
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    seal_checkpoint(checkpoint)
    assert {*files, checkpoint, tmp_path} < {*synced}
    assert newest_checkpoint(tmp_path) == checkpoint
    files.pop().write_bytes(b"weighty")
    assert (checkpoint_damage(checkpoint) or "").endswith("does not have the content that was written")
    assert checkpoint_damage(checkpoint, limit=13) is None, "14 bytes are more than this look may read"


@pytest.mark.parametrize("names", [["config.json", "model.safetensors"], ["adapter_config.json", "a.safetensors"]])
def test_weights_of_an_earlier_version_have_to_be_there(tmp_path: Path, names: list[str]) -> None:
    artifact = Artifact(tmp_path)
    write_json(tmp_path / "manifest.json", {"kind": "sft"})
    assert artifact.damage() is None, "nobody knows that it makes weights"
    assert artifact.damage(weights=True) == "model/ is missing"
    artifact.model.mkdir()
    for name in names:
        assert artifact.damage(weights=True) is not None
        (artifact.model / name).write_text("{}")
    assert artifact.damage(weights=True) is None
    (artifact.model / names[1]).write_text("")
    assert artifact.damage(weights=True) == f"model/{names[1]} is empty"


def test_a_damaged_manifest_is_damage_and_one_of_a_later_version_is_an_error(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path)
    (tmp_path / "manifest.json").write_text('{"kind": "s')
    assert artifact.damage() == "manifest.json is damaged"
    write_json(tmp_path / "manifest.json", {"schema": 99})
    with pytest.raises(DataError, match="upgrade adhere"):
        artifact.damage()


def test_a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "plan.json"
    write_json(path, {"a": 1})
    write_json(path, {"b": 2})
    write_yaml(path.with_suffix(".yaml"), {"schön": [1, 2]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"b": 2}
    assert path.with_suffix(".yaml").read_text(encoding="utf-8") == "schön:\n- 1\n- 2\n"
    assert sorted(file.name for file in path.parent.iterdir()) == ["plan.json", "plan.yaml"]


def test_a_write_that_fails_half_way_keeps_the_old_file_and_says_what_to_do(tmp_path: Path) -> None:
    """The limit on a file's size stands for a full disk: the write begins, and then fails."""
    path = tmp_path / "manifest.json"
    path.write_text("old", encoding="utf-8")
    code = (
        "import resource, signal, sys; from pathlib import Path; from adhere.rewards.files import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_text(Path(sys.argv[1]), 'x' * 100_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "StageError" in done.stderr and f"{path}: cannot be written" in done.stderr
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StageError, match=r"file/plan\.json: cannot be written \(.*\)"):
        write_text(tmp_path / "file" / "plan.json", "text")
