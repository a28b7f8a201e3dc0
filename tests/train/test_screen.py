"""What the terminal shows of a run: stages, times and errors once; nothing of the libraries' own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_run import ONE_ARM, REPOSITORY, command

from adhere.records.artifact import Artifact
from adhere.train.commands.train import next_commands
from adhere.train.launch.local.screen import Screen
from adhere.train.run.run import plan_run

TIME = "1128 12:43:16.382000 3589"
AGENT = "torch/distributed/elastic/multiprocessing/api.py"
DUMP = (
    f"E{TIME} {AGENT}:1002] failed (exitcode: 2) local_rank: 1 (pid: 3599) of binary: /usr/bin/python\n"
    "Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n"
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n"
)  # fmt: skip
UNUSED = "[rank1]:[W1128 12:43:12.564563556 reducer.cpp:1529] Warning: find_unused_parameters=True was specified\n"

SHOWN = {
    "a line": ("hello\n", "hello\n"),
    "a line that is cut": ("hel|lo\n", "hello\n"),
    "no end of line at the end": ("hello", "hello"),
    "empty lines": ("\n\nhello\n\n", "hello\n"),
    "a bar at once": ("\rsft: 0%|\rsft: 50%", "\rsft: 0%\rsft: 50%"),
    "a bar's end, then a line": ("\rsft: 50%|\n|hello\n", "\rsft: 50%\nhello\n"),
    "an error, which the driver repeats": ("\nadhere: error: no room\n", ""),
    "an error of two ranks, cut": ("\nadhere: err|or: no room\n\nadhere: error: no room\n", ""),
    "an error behind a bar": ("\rsft: 50%|\nadhere: error: no room\n", "\rsft: 50%\n"),
    "a stop, which the driver repeats": ("adhere: stopped at step 12; the same command goes on from there\n", ""),
    "a note": ("adhere: note: a step takes 9 s\n", "adhere: note: a step takes 9 s\n"),
    "a pause": ("adhere: training pauses for up to 60 s\n", "adhere: training pauses for up to 60 s\n"),
    "an early end": ("adhere: stopped at 3 in the morning\n", "adhere: stopped at 3 in the morning\n"),
    "torch ends the other ranks": (f"W{TIME} {AGENT}:1028] Sending process 3598 closing signal SIGTERM\n", ""),
    "torch's dump": (DUMP, ""),
    "torch's dump, from the folder of its environment": (DUMP.replace(AGENT, f".venv/lib/site-packages/{AGENT}"), ""),
    "a rank's own traceback stands before it": (
        "Traceback (most recent call last):\nValueError: no\n" + DUMP,
        "Traceback (most recent call last):\nValueError: no\n",
    ),
    "a text that only mentions it": (f"see {AGENT}\n", f"see {AGENT}\n"),
    "a hint behind a bar": (f"\rsft: 0%|{UNUSED}|\rsft: 50%\n", "\rsft: 0%\rsft: 50%\n"),
    "a warning of torch that is another": (UNUSED.replace("find_", "no "), UNUSED.replace("find_", "no ")),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_terminal_leaves_out_what_is_said_elsewhere(name: str) -> None:
    given, wanted = SHOWN[name]
    shown: list[bytes] = []
    screen = Screen(shown.append)
    for chunk in given.split("|"):
        screen.write(chunk.encode())
    screen.close()
    assert b"".join(shown).decode() == wanted


def test_what_follows_a_run_is_said_as_commands_that_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = plan_run(["recipe=quickstart", "debug=smoke", "run.name=mine", "seed=3"])
    report, ablate = next_commands(run)
    assert report == "next: adhere report runs/mine"
    words = "'weights=[{checklist: 0},{checklist: 1}]' seeds=[0,1,2]"
    assert ablate.strip() == f"adhere ablate recipe=quickstart debug=smoke seed=3 {words}"
    for alone in (
        ["recipe=specialists"],
        ["recipe=quickstart", "stages=[sft]"],
        ["recipe=quickstart", "stages=[sft,evaluate]"],
    ):
        assert len(next_commands(plan_run([*alone, "debug=smoke"]))) == 1
    elsewhere = plan_run(["recipe=quickstart", "debug=smoke", "run.root=/tmp/my runs", "run.name=x"])
    assert next_commands(elsewhere)[0] == "next: adhere report '/tmp/my runs/x'"


@pytest.mark.slow
def test_a_run_says_which_stage_it_is_at_how_long_each_took_and_nothing_of_libraries(tmp_path: Path) -> None:
    given = [*ONE_ARM, "stages=[sft,grpo,evaluate]"]
    ran = subprocess.run(command(tmp_path, *given), cwd=REPOSITORY, capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    assert re.match(r"5 stages to run: .+ in all, an estimate", lines[1])
    numbers = [found[1] for line in lines if (found := re.search(r"stage (\d of 5)$", line))]
    assert numbers == [f"{n} of 5" for n in range(1, 6)]
    done = [line for line in lines if line.startswith("  done ")]
    assert len(done) == 5 and all(re.search(r" in \d+ s", line) for line in done)
    assert re.search(r"sft .* in \d+ s; left: 4 of 5 stages, .+", done[0]) and "left" not in done[-1]
    at = lines.index("on these prompts, with this seed:")
    assert lines[at + 1].startswith("  grpo − base: ") and lines[at + 2].startswith("  grpo − sft: ")
    assert lines[-2].startswith("next: adhere report ") and lines[-1].strip().startswith("adhere ablate ")
    logs = [path.read_text() for path in tmp_path.glob("artifacts/*/logs/*.log")]
    assert len(logs) == 5
    for text in (ran.stdout, ran.stderr, *logs):
        assert not re.search("real_accelerator|Loading weights|Writing model|FutureWarning", text)


@pytest.mark.slow
def test_ranks_that_stop_say_so_once_and_go_on_without_a_word_of_tied_weights(tmp_path: Path) -> None:
    given = [*ONE_ARM, "stages=[sft]", "sft.max_steps=2000", "strategy=ddp", "launcher.processes=2"]
    process = subprocess.Popen(
        command(tmp_path, *given), cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    artifact = stop_when_it_trains(process, tmp_path)
    said, _ = process.communicate(timeout=300)
    step = artifact.stopped_at()
    assert process.returncode == 85 and said.count("stopped at step") == 1, said
    assert f"sft: stopped at step {step}; the same command goes on from there" in said
    assert not re.search("Traceback|elastic|find_unused", said)
    (log,) = artifact.logs.glob("*.log")
    assert "Traceback" not in log.read_text() and "elastic" not in log.read_text()

    again = subprocess.Popen(
        command(tmp_path, *given), cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    stop_when_it_trains(again, tmp_path, beyond=step)
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 85 and "missing keys" not in said, said


def stop_when_it_trains(process: subprocess.Popen[str], root: Path, beyond: int | None = None) -> Artifact:
    """Ask the only stage below ``root`` to stop once it has logged a step, one beyond ``beyond``; return it."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        for rows in root.glob("artifacts/sft-*/metrics.jsonl"):
            steps = [int(step) for step in re.findall(r'"step": (\d+)', rows.read_text())]
            if steps and steps[-1] > (beyond or 0):
                Artifact(rows.parent).stop.touch()
                return Artifact(rows.parent)
        time.sleep(0.1)
    pytest.fail(f"it did not train: {process.communicate()[0]}")


@pytest.mark.slow
def test_an_error_is_said_once_whatever_the_ranks(tmp_path: Path) -> None:
    for ranks in ([], ["strategy=ddp", "launcher.processes=2"]):
        given = [*ONE_ARM, "stages=[sft]", "sft.max_length=8", *ranks]
        ran = subprocess.run(command(tmp_path, *given), cwd=REPOSITORY, capture_output=True, text=True)
        said = ran.stdout + ran.stderr
        assert ran.returncode == 1 and said.count("sft.max_length is 8") == 1, said
        assert "Traceback" not in said and "elastic" not in said
        assert "adhere: error: " in next(tmp_path.glob("artifacts/sft-*/logs/*.log")).read_text()


@pytest.mark.slow
def test_a_model_that_is_talked_to_is_loaded_in_silence(tmp_path: Path) -> None:
    model = REPOSITORY / "recipes" / "assets" / "tiny_base"
    line = [sys.executable, "-m", "adhere.train.cli", "chat", str(model), "prompt=What is 2+2?", "max_new_tokens=4"]
    ran = subprocess.run(
        line, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"\[4 tokens, [\d.]+ s\]\n", ran.stderr)
