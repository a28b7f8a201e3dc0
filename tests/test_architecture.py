"""What the design promises of imports: arrows run down, there is no circle, and the driver starts without torch."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("rewards", "prompts", "records", "evaluation", "train")
"""From the bottom up; a room imports itself and what stands before it."""

TRAIN = (
    "config", "model", "run", "launch", "plan", "drive", "ablation", "stages", "worker", "commands", "cli"
)  # fmt: skip
"""The parts of ``train`` from the bottom up."""

LAUNCH = ("orphans", "harness", "serve", "local", "slurm")
"""The parts of ``train/launch`` from the bottom up."""

HEAVY = ("torch", "transformers", "trl", "peft", "accelerate", "deepspeed", "vllm")
TORCH_AT_THE_TOP = {"train/model/load.py", "train/model/handoff.py", "train/model/reward_model.py"}
TORCH_WHEN_CALLED = {
    "train/worker.py", "train/model/quiet.py", "train/commands/doctor.py", "train/commands/import_gguf.py",
    "train/launch/slurm/node_check.py",
}  # fmt: skip


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def package(module: str) -> str:
    """Return the package that ``module`` is of, or the room of ours."""
    return module.removeprefix("adhere.").split(".")[0]


def imports(path: Path, *, nested: bool) -> Iterator[str]:
    """Yield the package or room of every import; without ``nested`` only of those that run when the module loads."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (package(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield package(node.module)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        elif nested or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def test_every_room_is_there() -> None:
    assert all(modules(room) for room in ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_only_what_is_below_it(room: str) -> None:
    above = set(ROOMS[ROOMS.index(room) + 1 :])
    upward = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        for name in imports(path, nested=True)
        if name in above
    ]
    assert upward == []


def modules_of_ours(path: Path) -> set[str]:
    """Return every module of ours that ``path`` imports, also for types or in functions, as ``train.run.graph``."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write a relative import out, from adhere down"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found = {name for name in inner if (ROOT / f"{name.replace('.', '/')}.py").exists()}
            names |= found | ({str(node.module)} if found != inner else set())
    return {name.removeprefix("adhere.") for name in names if name.startswith("adhere.")}


def test_grpo_reads_from_top_to_bottom_with_few_modules() -> None:
    assert len(modules_of_ours(ROOT / "train" / "stages" / "grpo.py")) <= 12


def test_a_constraint_crosses_few_files_from_its_id_to_a_verdict() -> None:
    files = runpy.run_path(str(ROOT / "bench" / "hops.py"))["constraint_way"]().files
    assert "rewards/constraints/families/keywords.py" in files and len(files) <= 8, files


@pytest.mark.parametrize(("folder", "order"), [("train", TRAIN), ("train/launch", LAUNCH)])
def test_a_part_of_train_knows_only_what_is_below_it(folder: str, order: tuple[str, ...]) -> None:
    prefix, upward, unnamed = folder.replace("/", ".") + ".", set(), set()
    for path in modules(folder):
        own = path.relative_to(ROOT / folder).with_suffix("").parts[0]
        others = {name.removeprefix(prefix).split(".")[0] for name in modules_of_ours(path) if name.startswith(prefix)}
        unnamed |= {part for part in {own, *others} - {"__init__"} if part not in order}
        if own in order:
            above = others & set(order[order.index(own) + 1 :])
            upward |= {f"{path.relative_to(ROOT)} imports {prefix}{part}" for part in above}
    assert not unnamed, f"{folder}: say where {sorted(unnamed)} stand in the order"
    assert sorted(upward) == []


def test_in_train_no_modules_import_each_other_in_a_circle() -> None:
    files = modules("train")
    graph = {".".join(path.relative_to(ROOT).with_suffix("").parts): modules_of_ours(path) for path in files}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


SHARED_NAMES = {
    "main": "the entry of a program",
    "evaluate": "a command, and the function that does its work", "export": "as evaluate",
    "generate": "as evaluate", "compare": "as evaluate", "diagnose": "as evaluate", "fetch": "as evaluate",
    "markdown": "of a report: what it says as a page", "show": "of a report: print it",
    "write": "of a report: its files", "to_dict": "of a report: its JSON form",
}  # fmt: skip
"""Names of several modules, each with its one meaning."""


def test_a_public_name_has_one_meaning() -> None:
    places: dict[str, set[str]] = {}
    for path in (path for room in ROOMS for path in modules(room)):
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                places.setdefault(node.name, set()).add(str(path.relative_to(ROOT)))
    assert [(name, sorted(p)) for name, p in places.items() if len(p) > 1 and name not in SHARED_NAMES] == []


@pytest.mark.parametrize("room", ["rewards", "prompts", "records"])
def test_the_lowest_rooms_need_no_torch(room: str) -> None:
    heavy = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        for name in imports(path, nested=True)
        if name in HEAVY
    ]
    assert heavy == []


def test_in_train_only_the_named_modules_import_torch() -> None:
    allowed = {str(path.relative_to(ROOT)) for path in modules("train/stages")} | TORCH_AT_THE_TOP
    for path in modules("train"):
        name = str(path.relative_to(ROOT))
        if name not in allowed:
            loaded = sorted(set(imports(path, nested=False)) & set(HEAVY))
            assert loaded == [], f"{name} imports {loaded} when it loads"
        if name not in allowed | TORCH_WHEN_CALLED:
            called = sorted(set(imports(path, nested=True)) & {"torch", "transformers", "trl"})
            assert called == [], f"{name} imports {called} in a function"


def test_only_the_stages_import_trainers_and_only_launch_and_doctor_start_processes() -> None:
    for path in modules("train"):
        name = str(path.relative_to(ROOT))
        found = set(imports(path, nested=True))
        assert "trl" not in found or name.startswith("train/stages/"), name
        assert "subprocess" not in found or name.startswith("train/launch/") or name == "train/commands/doctor.py", name


def run_without(forbidden: tuple[str, ...], arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process where importing a ``forbidden`` package raises ImportError."""
    code = (
        "import sys\n"
        f"for name in {forbidden!r}: sys.modules[name] = None\n"
        "from adhere.train.cli import main\n"
        f"sys.exit(main({arguments!r}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(("flag", "shown"), [("--help", "adhere train recipe=NAME"), ("--version", "adhere ")])
def test_help_and_version_import_neither_torch_nor_hydra_nor_the_schema(flag: str, shown: str, tmp_path: Path) -> None:
    done = run_without((*HEAVY, "datasets", "hydra", "omegaconf", "pydantic", "numpy", "rich"), [flag], tmp_path)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_plan_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}), encoding="utf-8")
    done = run_without(HEAVY, ["plan", "recipe=quickstart", f"model.path={tmp_path}"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "grpo[composite]" in done.stdout
