"""Damaged checkpoints and weights: found by size and checksum, said before anything runs, passed over or made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attempts import differences, prepare, whole
from tiny_run import ONE_ARM, SMALL

import adhere.train.stages.sft
from adhere.records.artifact import Artifact, checkpoint_damage, newest_checkpoint
from adhere.records.names import ONLY
from adhere.records.plan import Plan, StageRecord
from adhere.records.run import RunFolder
from adhere.rewards.errors import StageError
from adhere.train.cli import main
from adhere.train.commands.doctor import CheckResult, show

pytestmark = [pytest.mark.slow, pytest.mark.long]

SFT = ["stages=[sft]", "sft.max_steps=3", "sft.save_steps=1"]
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "rank_state_0.pt", "trainer_state.json")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate, "emptied": empty, "bit-flipped": flip, "missing": Path.unlink,
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The stage without a break."""
    artifact = prepare(tmp_path_factory.mktemp("finished"), *SFT)
    whole(artifact)
    return artifact


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The same stage, killed as it hands over: it has checkpoints of its last two steps."""
    artifact = prepare(tmp_path_factory.mktemp("killed"), *SFT)

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(adhere.train.stages.sft, "save_for_handoff", kill)
        with pytest.raises(KeyboardInterrupt):
            whole(artifact)
    return artifact


def copy_of(killed: Artifact, folder: Path) -> Artifact:
    return Artifact(Path(shutil.copytree(killed.path, folder / "sft")))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("checksums", [True, False], ids=["with checksums", "of an earlier version"])
def test_whatever_is_damaged_of_the_newest_checkpoint_the_one_before_is_taken(
    killed: Artifact, tmp_path: Path, file: str, damage: Callable[[Path], None], checksums: bool
) -> None:
    folder = copy_of(killed, tmp_path).checkpoints
    if not checksums:
        for checkpoint in folder.glob("checkpoint-*"):
            empty(checkpoint / "COMPLETE")
    assert newest_checkpoint(folder) == folder / "checkpoint-3", "nothing is damaged yet"
    damage(folder / "checkpoint-3" / file)
    if not checksums and damage is flip and file != "optimizer.pt":
        pytest.skip("without a checksum these files do not tell, or the bit is in their padding")
    if not checksums and damage is Path.unlink and file != "trainer_state.json":
        pytest.skip("without a list nobody knows which files there were")
    said: list[str] = []
    assert newest_checkpoint(folder, said.append) == folder / "checkpoint-2"
    (sentence,) = said
    assert f"checkpoint-3/{file}" in sentence and sentence.endswith("training goes on from checkpoint-2")
    assert not (folder / "checkpoint-3").exists()


@pytest.mark.parametrize("content", ['{"files": {"optimizer.pt": {"by', "[]", '{"files": {"optimizer.pt": 3}}', "\x00"])
def test_a_damaged_list_of_checksums_is_a_damaged_checkpoint(killed: Artifact, tmp_path: Path, content: str) -> None:
    folder = copy_of(killed, tmp_path).checkpoints
    (folder / "checkpoint-3" / "COMPLETE").write_text(content)
    assert checkpoint_damage(folder / "checkpoint-3") == "checkpoint-3/COMPLETE is damaged"
    assert newest_checkpoint(folder) == folder / "checkpoint-2"


@pytest.mark.parametrize("file, damage", [*zip(FILES, [*DAMAGES.values(), truncate, empty], strict=True)], ids=FILES)
def test_after_a_damaged_checkpoint_it_ends_as_if_nothing_had_happened(
    finished: Artifact,
    killed: Artifact,
    tmp_path: Path,
    file: str,
    damage: Callable[[Path], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    artifact = copy_of(killed, tmp_path)
    damage(artifact.checkpoints / "checkpoint-3" / file)
    whole(artifact)
    assert "adhere: note: checkpoint-3 is damaged (" in capfd.readouterr().err
    assert differences(finished, artifact) == []


def test_a_checkpoint_of_an_earlier_version_is_resumed_from(
    finished: Artifact, killed: Artifact, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    artifact = copy_of(killed, tmp_path)
    empty(artifact.checkpoints / "checkpoint-3" / "COMPLETE")
    whole(artifact)
    assert "damaged" not in capfd.readouterr().err
    assert differences(finished, artifact) == []


def test_where_no_checkpoint_is_whole_the_stage_fails_and_says_what_to_do(killed: Artifact, tmp_path: Path) -> None:
    artifact = copy_of(killed, tmp_path)
    truncate(artifact.checkpoints / "checkpoint-2" / "model.safetensors")
    empty(artifact.checkpoints / "checkpoint-3" / "trainer_state.json")
    with pytest.raises(StageError, match="no checkpoint is whole"):
        whole(artifact)
    message = artifact.message()
    assert f"{artifact.checkpoints}: no checkpoint is whole (checkpoint-3/trainer_state.json has 0 bytes" in message
    assert "; checkpoint-2/model.safetensors has " in message and "remove that folder to train the stage" in message
    assert sorted(path.name for path in artifact.checkpoints.glob("*-*")) == ["checkpoint-2", "checkpoint-3"]
    shutil.rmtree(artifact.checkpoints)
    whole(artifact)
    assert artifact.done


def test_a_killed_stage_whose_checkpoint_is_damaged_is_planned_so(
    killed: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*SMALL, *ONE_ARM, *SFT, f"run.root={tmp_path}", "tracking.wandb=off"]
    assert main(["plan", *given]) == 0
    key = next(line.split()[3] for line in capsys.readouterr().out.splitlines() if line.startswith("  to run "))
    artifact = Artifact(Path(shutil.copytree(killed.path, tmp_path / "artifacts" / key)))
    assert main(["plan", *given]) == 0
    assert "damaged" not in capsys.readouterr().out
    flip(artifact.checkpoints / "checkpoint-3" / "optimizer.pt")
    assert main(["plan", *given]) == 0
    planned = capsys.readouterr().out
    assert "checkpoint-3 damaged: will be made again, from checkpoint-2: checkpoint-3/optimizer.pt" in planned
    assert (artifact.checkpoints / "checkpoint-3").exists(), "a plan changes nothing"
    truncate(artifact.checkpoints / "checkpoint-2" / "rank_state_0.pt")
    assert main(["plan", *given]) == 0
    assert f"no checkpoint is whole: remove {artifact.checkpoints} to train it" in capsys.readouterr().out


GONE: dict[str, Callable[[Path], None]] = {
    "the folder": shutil.rmtree,
    "weights cut off": lambda model: truncate(model / "model.safetensors"),
    "one bit of the weights": lambda model: flip(model / "model.safetensors"),
    "the configuration": lambda model: (model / "config.json").unlink(),
    "an empty tokenizer": lambda model: empty(model / "tokenizer.json"),
}


@pytest.mark.parametrize("damage", GONE.values(), ids=GONE)
def test_weights_that_are_gone_are_planned_and_made_again(
    finished: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    given = [*SMALL, *ONE_ARM, *SFT, f"run.root={tmp_path}", "tracking.wandb=off"]
    assert main(["plan", *given]) == 0
    key = next(line.split()[3] for line in capsys.readouterr().out.splitlines() if line.startswith("  to run "))
    artifact = Artifact(Path(shutil.copytree(finished.path, tmp_path / "artifacts" / key)))
    (artifact.model / "README.md").write_text("a card is no weight")
    (artifact.model / "generation_config.json").write_text("{}")
    assert main(["plan", *given]) == 0
    out = capsys.readouterr().out
    assert "nothing to do" in out and "damaged" not in out
    damage(artifact.model)
    assert main(["plan", *given]) == 0
    out = capsys.readouterr().out
    assert "damaged: will be made again: model/" in out and "nothing to do" not in out
    if damage is not shutil.rmtree:
        return
    assert main(["train", *given]) == 0
    out = capsys.readouterr().out
    assert "model/ is missing; it is made again" in out and "1 stage ran" in out
    assert differences(finished, artifact) == []
    assert main(["train", *given]) == 0
    assert "nothing to do" in capsys.readouterr().out
    latest = str(tmp_path / "latest")
    assert main(["doctor", latest]) == 0
    assert "ok  sft  done; 5 files of " in capsys.readouterr().out.replace("    ", "  ")
    flip(artifact.model / "tokenizer_config.json")
    assert main(["doctor", latest]) == 1
    assert "bad" in (out := capsys.readouterr().out) and "model/tokenizer_config.json does not have the content" in out
    assert artifact.damaged.exists()
    assert main(["status", latest]) == 0
    assert "damaged" in (out := capsys.readouterr().out) and "next: sft (will be made again: model/" in out


def test_doctor_names_the_arm_of_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert show([CheckResult("ok", "grpo[math_only]", "done"), CheckResult("note", "evaluate[base]", "done")]) == 0
    out = capsys.readouterr().out
    assert "grpo[math_only]" in out and "evaluate[base]" in out


def test_doctor_reads_the_checkpoints_of_a_killed_stage(
    killed: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    stage = StageRecord("sft", "sft", "sft", "0" * 64, "sft", {}, (ONLY,), 3, "adhere train")
    run.path.mkdir()
    run.record(Plan((stage,), (), {}, "0"))
    artifact = Artifact(Path(shutil.copytree(killed.path, tmp_path / "artifacts" / "sft")))
    assert main(["doctor", str(run.path)]) == 0
    assert "not done; checkpoint-3 is whole" in capsys.readouterr().out
    flip(artifact.checkpoints / "checkpoint-3" / "rank_state_0.pt")
    assert main(["doctor", str(run.path)]) == 1
    assert "checkpoint-3 is damaged: checkpoint-3/rank_state_0.pt" in " ".join(capsys.readouterr().out.split())


def test_a_stage_does_not_start_from_damaged_weights_and_the_next_run_makes_them_again(
    finished: Artifact, tmp_path: Path
) -> None:
    sft = Artifact(Path(shutil.copytree(finished.path, tmp_path / "sft-of-before")))
    grpo = prepare(tmp_path, "stages=[grpo]", "grpo.max_steps=1", model=sft.path)
    flip(sft.model / "model.safetensors")
    with pytest.raises(StageError, match="it makes that stage again"):
        whole(grpo)
    assert "model/model.safetensors does not have the content that was written" in grpo.message()
    assert json.loads((sft.path / "DAMAGED").read_text())["message"] == sft.damage(0.0), "nobody has to read it again"
    sft.reopen()
    assert not sft.done and sft.damage() is not None
