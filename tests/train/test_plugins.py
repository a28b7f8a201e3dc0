"""Users' plug-ins as a user breaks them: what is wrong is said in one sentence, before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_run import REPOSITORY

from adhere.evaluation.suites import SUITES, SuiteKind, SuiteSource, suite
from adhere.prompts.config import SourceConfig
from adhere.prompts.generators import GENERATORS, data_generator
from adhere.prompts.item import Message, PromptItem
from adhere.prompts.sources import PromptStyle, load
from adhere.rewards.errors import ConfigError, DataError
from adhere.rewards.plugins import load_plugins
from adhere.rewards.registry import REGISTRIES
from adhere.train.config.compose import compose_recipe
from adhere.train.config.trackers import TRACKERS, Tracker, tracker


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import from ``tmp_path``, and forget afterwards what a test has imported and registered."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    modules, before = set(sys.modules), [(r, dict(r._things), dict(r._modules)) for r in REGISTRIES]
    yield
    for registry, things, names in before:
        registry._things, registry._modules = things, names
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


TRACKER = """
from adhere.train.config.trackers import Tracker, tracker

@tracker({name!r})
class {cls}(Tracker):
    def log(self, step, figures):
        pass
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", r"importing mine raised SyntaxError: invalid syntax \(mine\.py, line 1\)"),
        ("x = 1\ny = x / 0\n", r"importing mine raised ZeroDivisionError: division by zero \(.*/mine\.py, line 2\)"),
        ("from .words import x\n", r"importing mine raised ImportError: attempted relative import.*line 1"),
        ("from adhere.rewards import nothing\n", "importing mine raised ImportError: cannot import name 'nothing'"),
        ("import no_such_library\n", "mine needs the module 'no_such_library', which is not installed"),
        (
            TRACKER.format(name="wandb", cls="Mine"),
            "mine: the tracker 'wandb' exists already, in adhere.train.config.trackers; choose another name",
        ),
        (
            TRACKER.format(name="diary", cls="One") + TRACKER.format(name="diary", cls="Two"),
            "mine: the tracker 'diary' is registered twice, as One and Two; give each a name of its own",
        ),
        (
            "from adhere.train.config.trackers import Tracker, tracker\n@tracker('x')\nclass X(Tracker):\n    pass\n",
            r"mine: the tracker 'x' defines neither log\(self, step, figures\) nor rollouts",
        ),
        ("from adhere.train.config.trackers import tracker\n@tracker('x')\nclass X: ...", "is not a subclass of"),
        (
            "from adhere.evaluation.suites import SuiteKind, suite\n@suite('x')\nclass X(SuiteKind):\n    pass\n",
            r"mine: the suite 'x' has no method items\(self, source\)",
        ),
        ("from adhere.evaluation.suites import suite\n@suite('x')\nclass X:\n    pass\n", "is not a subclass of"),
        (
            "from adhere.prompts.generators import data_generator\n@data_generator('x')\ndef x(size):\n    pass\n",
            r"the data generator 'x' cannot be called as \(size, seed, \*\*params\): got an unexpected keyword",
        ),
        (
            "from adhere.prompts.generators import data_generator\n@data_generator('x')\nasync def x(size, seed): ...",
            "the data generator 'x' is async",
        ),
        ("from adhere.prompts.generators import data_generator\ndata_generator('x')(int)", "is not a function"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_used_is_named(text: str, said: str) -> None:
    write("mine.py", text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_plugins(["mine"])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("my_lab", r"plugins: 'my_lab' is not a list of modules; write plugins: \[my_lab\.rewards\]"),
        ([3], "plugins: 3 is not the name of a module"),
        (["my-lab"], "plugins: 'my-lab' is not the name of a module"),
        (["my_lab/rewards.py"], "is not the name of a module; write one such as my_lab.rewards"),
        ([".rewards"], "'.rewards' is not the name of a module"),
        ({"my_lab": "rewards"}, "is not a list of modules"),
        (["my_lob"], "there is no module 'my_lob', neither installed nor below"),
        (["my_lab.rewords"], "there is no module 'my_lab.rewords'"),
    ],
)
def test_what_is_not_a_list_of_modules_is_refused(given: Any, said: str) -> None:
    write("my_lab/__init__.py", "")
    with pytest.raises(ConfigError, match=said):
        load_plugins(given)


def test_a_recipe_says_it_too() -> None:
    write("broken.py", "1 / 0\n")
    with pytest.raises(ConfigError, match="plugins: 'broken' is not a list of modules"):
        compose_recipe(["plugins=broken"])
    with pytest.raises(ConfigError, match="plugins: 3 is not the name of a module"):
        compose_recipe(["plugins=[3]"])
    with pytest.raises(ConfigError, match="importing broken raised ZeroDivisionError"):
        compose_recipe(["plugins=[broken]"])
    with pytest.raises(ConfigError, match="importing broken raised ZeroDivisionError"):
        compose_recipe(["plugins=[broken]", "its_section.key=1"])


def test_a_package_without_init_and_relative_imports_inside_a_package_work() -> None:
    write("research/lab/words.py", "NAME = 'relative'\n")
    write("research/lab/tracking.py", "from .words import NAME\n" + TRACKER.format(name="relative", cls="Mine"))
    load_plugins(["research.lab.tracking"])
    assert "relative" in TRACKERS and TRACKERS.package("relative") == "research"
    load_plugins(["research.lab.tracking"])


def test_a_module_of_ours_under_its_short_name_is_refused_and_a_users_own_of_that_name_is_not() -> None:
    write("rewards.py", TRACKER.format(name="mine", cls="Mine"))
    code = "import sys; from adhere.rewards.plugins import load_plugins; load_plugins(['rewards'])"
    line, env = [sys.executable, "-P", "-c", code], {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    inside = subprocess.run(line, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)
    assert "plugins: 'rewards' is a module of adhere's own, found from its checkout" in inside.stderr


def test_suites_are_named_and_checked() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.suite.*no suite 'mathfi' \(did you mean 'mathif'\?\)"):
        compose_recipe(["evaluation.suite=mathfi"])

    @suite("mine")
    class Mine(SuiteKind):
        modes = ("compat",)
        twins = False

        def items(self, source: SuiteSource) -> list[Any]:
            return [PromptItem("a", (Message(role="user", content="2 + 2?"),), "4")] if source.path is None else [{}]

        def problems(self, source: SuiteSource) -> list[str]:
            return ["evaluation.path: leave it out"] if source.path else []

    with pytest.raises(ConfigError, match=r"evaluation\.mode: the suite mine has no mode hardened; use compat"):
        compose_recipe(["evaluation.suite=mine"])
    chosen = ["evaluation.suite=mine", "evaluation.mode=compat"]
    with pytest.raises(ConfigError, match=r"without_constraints: the suite mine has no prompts without"):
        compose_recipe([*chosen, "evaluation.without_constraints=true"])
    with pytest.raises(ConfigError, match=r"evaluation\.path: leave it out"):
        compose_recipe([*chosen, "evaluation.path=x"])
    loaded = SUITES["mine"].load(compose_recipe(chosen).evaluation.source)
    assert loaded.name == "mine" and [item.id for item in loaded.items] == ["a"]
    with pytest.raises(DataError, match=r"suite 'mine': \{\} is a dict, not a PromptItem"):
        SUITES["mine"].load(SuiteSource(Path("x")))
    with pytest.raises(ConfigError, match="needs modes out of compat, hardened, got 'soft'"):
        suite("soft")(type("Soft", (Mine,), {"modes": ("soft",)}))


def test_trackers_are_named_and_ours_have_switches_of_their_own() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.trackers.*no tracker 'dairy' \(did you mean 'diary'\?\)"):
        tracker("diary")(type("Diary", (Tracker,), {"log": lambda self, step, figures: None}))
        compose_recipe(["tracking.trackers=[dairy]"])
    with pytest.raises(ConfigError, match=r"tracking\.trackers.*'wandb' is switched on by tracking\.wandb"):
        compose_recipe(["tracking.trackers=[wandb]"])
    assert compose_recipe(["tracking.trackers=[diary]"]).tracking.trackers == ["diary"]


def test_generators_make_items_and_their_arguments_are_checked_when_the_recipe_is_read() -> None:
    @data_generator("small_sums")
    def small_sums(size: int, seed: int, largest: int = 9) -> Iterator[Any]:
        yield {"question": "1 + 1?", "answer": "2", "solution": "1 + 1 = 2."}
        yield PromptItem("own", (Message(role="user", content="2 + 2?"),), "4")
        if largest > 9:
            yield 3

    def items(size: int, **params: Any) -> list[PromptItem]:
        source = SourceConfig(generator="small_sums", size=size, seed=5, params=params)
        return load(source, PromptStyle())

    first, second = items(2)
    assert (first.id, first.answer, first.solution) == ("small_sums/5-0", "2", "1 + 1 = 2.")
    assert second.id == "own"
    with pytest.raises(DataError, match="made 2 problems, size asks for 3"):
        items(3)
    with pytest.raises(DataError, match=r"'small_sums' \(seed 5\) problem 2: is a int"):
        items(3, largest=10)
    with pytest.raises(ConfigError, match=r"train\[0\].*params\.larges is not one of its arguments \(did you mean 'la"):
        compose_recipe(["data.train=[{generator: small_sums, size: 3, params: {larges: 1}}]"])
    data_generator("chain_sum")(small_sums)
    with pytest.raises(DataError, match="reasoning-gym has one of that name"):
        load(SourceConfig(generator="chain_sum", size=1), PromptStyle())
    with pytest.raises(DataError, match=r"neither reasoning-gym nor a plug-in has it \(did you mean 'small_sums'"):
        load(SourceConfig(generator="small_sms", size=1), PromptStyle())
    assert "small_sums" in GENERATORS


@pytest.mark.slow
def test_an_installed_package_offers_its_plug_ins_by_an_entry_point(tmp_path: Path) -> None:
    write(
        "dist/pyproject.toml",
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "their-lab"\n'
        'version = "1"\n[project.entry-points."adhere.plugins"]\ntracking = "their_lab.tracking"\n',
    )
    write("dist/their_lab/__init__.py", "")
    write("dist/their_lab/tracking.py", TRACKER.format(name="theirs", cls="Theirs"))
    site = tmp_path / "site"
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site), "./dist"]
    installed = subprocess.run([sys.executable, *pip], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"pip cannot build a wheel here: {installed.stderr[-200:]}")
    env = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{site}"}
    line = [sys.executable, "-P", "-m", "adhere.train.cli", "plan", "recipe=quickstart", "tracking.trackers=[theirs]"]
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (site / "their_lab" / "tracking.py").write_text("1 / 0\n", encoding="utf-8")
    broken = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert broken.returncode == 2
    assert "the installed package their-lab names the plug-in their_lab.tracking" in broken.stderr
