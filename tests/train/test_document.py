"""The configuration reference says what the schema says, and the commands in the documents compose."""

import shlex
from pathlib import Path

import pytest

from adhere.rewards.config import Strict
from adhere.train.cli import main as cli
from adhere.train.commands.evaluate import evaluation_overrides
from adhere.train.config.document import configuration_page
from adhere.train.run.run import plan_run

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "configuration.md"
RECIPES = REPOSITORY / "recipes"
GENERATED = ("configuration.md", "constraints.md")
PAGES = [REPOSITORY / "README.md", *(p for p in (REPOSITORY / "docs").glob("*.md") if p.name not in GENERATED)]
OF_THE_READER = ("…", "my_lab.", "my_recipes", "optuna", "checklists.jsonl", "items.jsonl", "responses=")
"""What the pages' commands name that is not in the repository: a module or a file of the reader's."""


def rows(page: str) -> dict[str, str]:
    return {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}


def test_the_page_in_the_repository_is_up_to_date() -> None:
    message = "run `python -m adhere.train.config.document > docs/configuration.md` and commit the page"
    assert PAGE.read_text(encoding="utf-8") == configuration_page(), message


def test_a_key_has_type_bounds_default_and_meaning() -> None:
    row = rows(configuration_page())["grpo.group_size"]
    assert (
        row == "| `grpo.group_size` | integer, ≥ 2 | `8` | Completions per prompt (G), which the advantage compares. |"
    )


def test_a_default_is_the_one_of_its_section() -> None:
    assert "| `0.0` |" in rows(configuration_page())["evaluation.sampling.temperature"]


def test_an_inherited_meaning_is_kept_where_only_the_default_changes() -> None:
    found = rows(configuration_page())
    assert found["sft.learning_rate"].endswith("| Peak learning rate. |")
    assert found["grpo.learning_rate"].endswith("| Peak learning rate. |")


def test_every_group_of_recipes_is_a_section() -> None:
    groups = {p.name for p in RECIPES.iterdir() if p.is_dir()} - {"assets", "debug", "local", "recipe", "strategy"}
    headings = {line.removeprefix("## ") for line in configuration_page().splitlines() if line.startswith("## ")}
    assert groups <= headings


def test_links_lead_to_headings() -> None:
    page = configuration_page()
    anchors = {
        "".join(c for c in line[3:].lower().replace(" ", "-") if c.isalnum() or c in "-_")
        for line in page.splitlines()
        if line.startswith("## ")
    }
    targets = {part.split(")")[0] for part in page.split("](#")[1:]}
    assert targets and targets <= anchors


def test_a_field_without_docstring_is_an_error_that_names_it() -> None:
    class Undocumented(Strict):
        """A section."""

        size: int = 1

    with pytest.raises(ValueError, match=r"Undocumented\.size: has no docstring"):
        configuration_page(Undocumented)


def test_a_type_without_a_word_is_an_error() -> None:
    class Odd(Strict):
        """A section."""

        size: complex = 1j
        """A number that YAML does not know."""

    with pytest.raises(ValueError, match="complex"):
        configuration_page(Odd)


def commands() -> list[str]:
    """Return the `adhere` commands in the shell blocks of all pages, without comments and continued lines joined."""
    found = []
    for page in PAGES:
        blocks = page.read_text(encoding="utf-8").split("```bash\n")[1:]
        lines = "\n".join(block.split("```")[0] for block in blocks).replace("\\\n", " ").splitlines()
        found += [line.strip() for line in lines if line.startswith("adhere ")]
    return list(dict.fromkeys(found))


COMPOSED = [
    line
    for line in commands()
    if line.split()[1] in ("plan", "train", "evaluate", "ablate", "audit") and not any(w in line for w in OF_THE_READER)
]


def test_the_pages_have_commands_of_each_kind() -> None:
    assert len(COMPOSED) > 50
    assert {line.split()[1] for line in COMPOSED} == {"plan", "train", "evaluate", "ablate", "audit"}


@pytest.mark.slow  # all of them together
@pytest.mark.parametrize("line", COMPOSED)
def test_a_command_of_the_pages_composes(line: str, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    _, command, *words = shlex.split(line, comments=True)
    words = [word.replace("models/smollm2", str(model_folder)) for word in words]
    if command == "ablate":
        assert cli([command, *words, "--plan"]) == 0
        return
    if any(word.startswith("-") for word in words):
        pytest.skip("Hydra's own flags print or run something")
    if command == "audit":
        words = [word for word in words if word.partition("=")[0] not in ("items", "order", "step")]
    if "suite=lm_eval" in words:
        pytest.skip("the harness composes it, in an environment of its own")
    if command == "evaluate":
        words, _ = evaluation_overrides(words)
    assert plan_run(words).graph.stages


def test_the_readers_own_names_are_in_the_pages() -> None:
    lines = commands()
    assert [name for name in OF_THE_READER if not any(name in line for line in lines)] == []
