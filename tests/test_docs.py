"""The documentation: every page is reached, links lead somewhere, and the messages of trouble.md are the code's."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from adhere.train.run.run import plan_run

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
HOLE = "\0"


def prose(page: Path) -> str:
    """Return the text of ``page`` without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"(?<!`)\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        if not found.is_file() or (anchor and anchor not in anchors(found)):
            lost.append(target)
        # the site has the pages of docs/ and nothing else
        elif page.parent == DOCS and found.parent != DOCS:
            lost.append(f"{target} is not below docs/")
    assert lost == []


def test_every_page_is_in_the_index_and_in_the_sites_menu() -> None:
    names = {page.name for page in DOCS.glob("*.md")}
    linked = set(re.findall(r"\]\((\w+\.md)", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert names - {"index.md"} == linked
    menu = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)["nav"]
    pages = [page for section in menu for pages in section.values() for page in pages]
    assert names == {page if isinstance(page, str) else next(iter(page.values())) for page in pages}


def test_the_tables_of_results_are_those_of_the_committed_files() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "evidence.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def texts() -> list[str]:
    """Return every text of the code, with a hole where a value goes; one that is written in parts is one text."""
    found = []
    for room in ("rewards", "prompts", "records", "evaluation", "train"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [str(p.value) if isinstance(p, ast.Constant) else HOLE for p in node.values]
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"\{[^}]*\}", HOLE, node.value))
    return found


def is_said(message: str, said: list[str]) -> bool:
    """Whether one text of the code has the parts of ``message`` between its gaps in this order, with holes between."""
    parts = [re.escape(part) for part in re.split(r"\s*…\s*", message) if part]
    return any(re.search(rf"\s*[^{HOLE}]*{HOLE}.*?\s*".join(parts), text, re.DOTALL) for text in said)


def test_the_page_on_recipes_lists_every_recipe_and_option() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", (DOCS / "recipes.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = {name for first, _ in rows for name in re.findall(r"`(\w+)`", first)}
    assert {path.stem for path in (ROOT / "recipes" / "recipe").glob("*.yaml")} <= names
    options = {group: listed for first, listed in rows for group in re.findall(r"`(\w+)`", first)}
    folders = [folder for folder in (ROOT / "recipes").iterdir() if folder.is_dir()]
    for folder in folders:
        if folder.name in ("recipe", "evaluation", "assets", "local"):  # suites are listed on the page of evaluation
            continue
        for path in folder.glob("*.yaml"):
            assert f"`{path.stem}`" in options[folder.name], path


def test_the_messages_of_the_page_for_trouble_are_the_codes() -> None:
    page = (DOCS / "trouble.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| `")]
    messages = [found[1] for cell in cells if (found := re.match(r"`([^`]+)`", cell))]
    assert len(messages) > 40
    said = texts()
    assert [message for message in messages if not is_said(message, said)] == []
    assert not is_said("grpo.group_size: … does not like", said)


def test_the_readmes_own_recipe_plans_in_the_readers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own data")[2].partition("\n## ")[0]
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", part, re.DOTALL))
    (tmp_path / "my_recipes" / "recipe").mkdir(parents=True)
    (tmp_path / "my_recipes" / "recipe" / "mine.yaml").write_text(blocks["yaml"])
    (tmp_path / "my_lab.py").write_text(blocks["python"])
    row = '{"question": "What is 1 + 1?", "answer": "2", "solution": "1 + 1 = 2"}\n'
    (tmp_path / "mine.jsonl").write_text(row)
    (tmp_path / "held_out.jsonl").write_text(row)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _, command, *words = shlex.split(blocks["bash"].replace("$PWD", str(tmp_path)), comments=True)
    assert command == "train"
    run = plan_run(words)
    assert {stage.kind for stage in run.graph.stages.values()} == {"sft", "grpo", "evaluate"}
    assert {*run.recipe.rewards.components} == {"math", "checklist", "format", "length", "brevity"}


def test_the_readme_is_short_and_has_one_picture_and_six_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    six = text.partition("## Six commands")[2].partition("```bash\n")[2].partition("```")[0]
    assert len(six.splitlines()) == 6
    assert len(text.splitlines()) < 140


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed: pip install '.[docs]'")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "verify_answer" in (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
