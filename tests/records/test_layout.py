"""The layout of run and artifact folders is named in ``records/`` alone, and what looks after runs starts fast."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = re.compile(
    r"(?<![\w.-])(plan\.json|DONE|FAILED|REQUEUE|STOP|COMPLETE|stage\.yaml|manifest\.json|slurm\.json|servers\.json|"
    r"run\.key|recipe\.yaml|timing\.json|attempts\.json|arms\.json|metrics\.jsonl|alarms\.jsonl|monitors\.jsonl|"
    r"step_\*\.parquet)(?![\w.-])"
)
DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def named(path: Path) -> Iterator[str]:
    """Yield the file names of the layout in a module's strings; docstrings, also of fields, may name them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield from FILES.findall(node.value)


def test_the_search_finds_a_name_in_a_path_and_not_in_a_docstring(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Writes ``DONE``."""\nA = f"{x}/stage.yaml"\n(p / "DONE").touch()\nB = "UNDONE"\n')
    assert sorted(named(module)) == ["DONE", "stage.yaml"]


@pytest.mark.parametrize("room", ["rewards", "prompts", "evaluation", "train"])
def test_only_records_names_the_files_of_a_run(room: str) -> None:
    found = {str(path.relative_to(ROOT)): names for path in (ROOT / room).rglob("*.py") if (names := set(named(path)))}
    assert found == {}


def test_templates_get_the_names_as_variables() -> None:
    for path in (ROOT / "slurm").iterdir():
        if path.is_file():
            lines = [
                line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
            ]
            assert [
                name for line in lines for name in FILES.findall(line) if name != "STOP" or "/STOP" in line
            ] == [], path


def test_records_loads_with_the_standard_library_alone() -> None:
    """``adhere status`` answers at once: what it needs imports no package that has to be installed."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "import adhere.records.artifact, adhere.records.jobs, adhere.records.jsonl, adhere.records.names\n"
        "import adhere.records.objects, adhere.records.plan, adhere.records.run, adhere.records.servers\n"
        "import adhere.records.state, adhere.records.tables, adhere.train.launch.slurm.progress\n"
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(roots - sys.stdlib_module_names - {'adhere'}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(ROOT)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
