"""The examples of docs/extending.md, taken from the page and run from a folder outside the repository."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tiny_run import ONE_ARM, REPOSITORY, SMALL, stage

PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
SCORE = """
import json, sys
from adhere.rewards import Rollout
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.plugins import load_plugins

given = json.loads(sys.argv[1])
load_plugins(given.get("plugins", []))
for name, component in given["components"].items():
    component.pop("gate", None)
composite = Composite(RewardConfig.model_validate({"components": given["components"]}), Engine())
for name, component in composite.config.components.items():
    component.check(name)
texts = ["First, it is \\\\boxed{4}", "<think>First</think>It is " + "very " * 60 + "long", "<think>never"]
scores = composite.score([Rollout("What is 2 + 2?", text, "4") for text in texts])
composite.close()
print(json.dumps({name: [v.score for v in column] for name, column in scores.verdicts.items()}))
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder with the page's files."""
    for _, code in BLOCKS:
        if named := re.search(r"^# (my_\S+\.(?:py|yaml))$", code, re.MULTILINE):
            path = tmp_path / named[1]
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(code, encoding="utf-8")
    return tmp_path


def component(name: str) -> dict[str, object]:
    """Return a component as the page writes it in a recipe."""
    recipes = [yaml.safe_load(code) for language, code in BLOCKS if language == "yaml"]
    return next(c[name] for recipe in recipes if name in (c := recipe.get("rewards", {}).get("components", {})))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def scores(lab: Path, components: dict[str, dict[str, object]], plugins: tuple[str, ...] = ()) -> dict[str, list]:
    given = json.dumps({"components": components, "plugins": plugins})
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCORE, given], cwd=lab, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_function(lab: Path) -> None:
    assert scores(lab, {"brevity": component("brevity")})["brevity"] == [1.0, 0.0, None]


def test_the_class_that_is_made_once(lab: Path) -> None:
    mine = {"kind": "python", "function": "my_lab.models:Similarity", "params": {"reference": "First, it never"}}
    assert scores(lab, {"mine": mine})["mine"] == [0.4, 0.0, 0.0]


@pytest.mark.slow
def test_the_component_of_your_own(lab: Path) -> None:
    assert scores(lab, {"opening": component("opening")}, ("my_lab.components",))["opening"] == [0.0, 0.0, 0.0]
    opening = component("opening") | {"words": ["First,"]}
    assert scores(lab, {"opening": opening}, ("my_lab.components",))["opening"] == [1.0, 0.0, 0.0]


def test_the_server(lab: Path) -> None:
    pytest.importorskip("httpx", reason="needs the judge extra")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "my_lab/server.py", str(port)], cwd=lab, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        detail = component("detail") | {"url": f"http://127.0.0.1:{port}/score"}
        assert scores(lab, {"detail": detail})["detail"] == [0.022, 0.33, 0.012]
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_the_components_compose_and_the_reward_models_are_checked(lab: Path) -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("adhere train"))
    override = re.search(r"'(\+.*)'", line)[1]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "adhere.train.cli", "plan", "recipe=quickstart", override],
        cwd=lab, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "brevity" in done.stdout, done.stderr
    wrong = override.replace("rewards:brevity", "rewards:brevty")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "adhere.train.cli", "plan", "recipe=quickstart", wrong],
        cwd=lab, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "brevity.function: my_lab.rewards has no 'brevty' (did you mean 'brevity'?)" in done.stderr
    assert set(component("polite")) | set(component("liked")) <= {
        "kind", "model", "label", "bounds", "input", "device", "weight", "gate",
    }  # fmt: skip


@pytest.mark.slow
def test_a_run_trains_on_the_function_from_outside_the_repository(lab: Path) -> None:
    (lab / "train.py").write_text("raise SystemExit('the file of the user was run')")
    written = yaml.safe_dump(component("brevity"), default_flow_style=True, width=1000).strip()
    words = [*SMALL, *ONE_ARM, "stages=[grpo]", f"run.root={lab / 'runs'}", f"+rewards.components.brevity={written}"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "adhere.train.cli", "train", *words],
        cwd=lab, env=environment(), capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    logged = [json.loads(line) for line in (stage(lab / "runs", "grpo") / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in logged if "components/brevity/mean" in row]
    assert len(steps) == 5 and all(row["components/brevity/weight"] == 0.2 for row in steps)
    assert all(row["components/brevity/errors"] == row["components/brevity/timeouts"] == 0.0 for row in steps)
    assert not list(lab.glob("outputs"))


def in_lab(lab: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the page's recipe, cut to a handful of steps."""
    recipe = [f"hydra.searchpath=[{lab / 'my_recipes'}]", "recipe=lab", "debug=smoke"]
    machine = ["launcher.device=cpu", "launcher.threads=1", "run.name=lab", "tracking.wandb=off"]
    return subprocess.run(
        [sys.executable, "-P", "-m", "adhere.train.cli", command, *recipe, *machine, *words],
        cwd=lab, env=environment(), capture_output=True, text=True, timeout=500,
    )  # fmt: skip


def keys(lab: Path, *words: str) -> dict[str, str]:
    """Return the folder of each stage's artifact, which holds its key, by the stage's name."""
    done = in_lab(lab, "plan", *words)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^  (?:to run|done) +(\S+) +(\w+-[0-9a-f]{12}) ", done.stdout, re.MULTILINE))


@pytest.mark.slow
def test_a_changed_reward_gives_new_keys_to_grpo_and_what_follows_and_not_to_sft(lab: Path) -> None:
    sums = "data.train=[{generator: basic_arithmetic, size: 200, seed: 1}]"
    plain = (sums, "data.constraints.ids=[punctuation:no_comma]", "evaluation.suite=prompts")
    before, all_of_it = keys(lab, *plain), keys(lab)
    assert list(before) == ["sft", "smaller", "grpo", "evaluate[grpo]"]
    assert before["sft"] != all_of_it["sft"]
    rewards = lab / "my_lab" / "rewards.py"
    rewards.write_text(rewards.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    after = keys(lab, *plain)
    assert [name for name in before if before[name] != after[name]] == ["smaller", "grpo", "evaluate[grpo]"]
    assert keys(lab)["sft"] != all_of_it["sft"], "its data draws a constraint of the package"
    named = keys(lab, *plain, "tracking.trackers=[]")
    assert named == after, "trackers are not part of a key"


@pytest.mark.slow
def test_planning_with_plug_ins_needs_no_torch(lab: Path) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom adhere.train.cli import main\n"
        f"sys.exit(main(['plan', 'hydra.searchpath=[{lab / 'my_recipes'}]', 'recipe=lab', 'debug=smoke']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=lab, env=environment(), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "all weights × 0.99" in done.stdout and "weakest, as written" in done.stdout


@pytest.mark.slow
def test_the_whole_recipe_trains_and_is_reported_and_reweighted(lab: Path) -> None:
    done = in_lab(lab, "train")
    assert done.returncode == 0, done.stderr[-3000:]
    stages = lab / "runs" / "lab" / "stages"
    diary = (stages / "grpo" / "diary.txt").read_text(encoding="utf-8").splitlines()
    assert any("rates/joint" in line for line in diary) and any("rollouts, the first:" in line for line in diary)
    assert diary[-1] == "ended with 0"
    assert (stages / "sft" / "diary.txt").is_file()
    results = json.loads((stages / "evaluate-grpo" / "results.json").read_text(encoding="utf-8"))
    assert results["suite"] == "doubles" and results["metrics"]["prompts"] == 10
    for words in (["report", "runs/lab"], ["reweight", "runs/lab", "rewards.components.brevity.weight=0,1"]):
        after = subprocess.run(
            [sys.executable, "-P", "-m", "adhere.train.cli", *words],
            cwd=lab, env=environment(), capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert after.returncode == 0, after.stderr[-3000:]


@pytest.mark.slow
def test_two_ranks_train_on_the_function(lab: Path) -> None:
    words = ["stages=[grpo]", "strategy=ddp", "launcher.processes=2", "grpo.per_device_batch_size=4"]
    done = in_lab(lab, "train", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [
        json.loads(line)
        for line in (lab / "runs/lab/stages/grpo/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    steps = [row for row in rows if "components/brevity/mean" in row]
    assert len(steps) == 2 and all(row["components/brevity/errors"] == 0.0 for row in steps)
    assert (lab / "runs/lab/stages/grpo/diary.txt").read_text(encoding="utf-8").count("ended with 0") == 1
