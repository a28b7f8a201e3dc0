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
