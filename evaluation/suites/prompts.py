"""The suite ``prompts``: the recipe's evaluation data, or the prompts of one file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from adhere.evaluation.suites.base import Suite, SuiteKind, SuiteSource, prompt_suite, suite
from adhere.prompts.config import SourceConfig
from adhere.prompts.item import PromptItem
from adhere.prompts.sources import PromptStyle, load


@suite("prompts")
class Prompts(SuiteKind):
    """The recipe's evaluation data, or the file that ``evaluation.path`` names."""

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        if source.path is None:
            return source.recipe_items()
        return load(SourceConfig.model_validate({"path": str(source.path)}), PromptStyle())

    def title(self, source: SuiteSource) -> str:
        return self.name if source.path is None else source.path.name.split(".")[0]

    def files(self, source: SuiteSource) -> list[Path]:
        return [] if source.path is None else [source.path]

    def fingerprint(self, source: SuiteSource) -> str | None:
        return None if source.path is None else super().fingerprint(source)


def prompt_file(path: Path, limit: int | None = None, style: PromptStyle | None = None) -> Suite:
    """Read a file as a suite of its name: prompt items, or raw rows such as GSM8K's and MATH-500's own files.

    ``style`` says how raw questions become messages; rows with ``messages`` are taken as they are.

    Raises:
        DataError: the file is missing, empty or damaged, or a row cannot be used (file and line are named).
    """
    items = load(SourceConfig.model_validate({"path": str(path)}), style or PromptStyle())
    return prompt_suite(path.name.split(".")[0], items, limit)
