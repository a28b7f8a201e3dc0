"""What a suite is: a kind that a recipe names in ``evaluation.suite``, and the prompt items that it loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import MODES, Score, ScoredRow, score_responses
from adhere.evaluation.statistics import Bootstrap
from adhere.prompts.attach import without_constraints
from adhere.prompts.item import Message, PromptItem, check_characters
from adhere.rewards.checklist import Decider
from adhere.rewards.constraints import Mode
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError
from adhere.rewards.math.gold import check_gold
from adhere.rewards.registry import Registry

TWIN_SUFFIX = "#without"
K = TypeVar("K", bound=type["SuiteKind"])

UNSATISFIABLE = "the request to repeat has a comma, and commas are forbidden"
COMMA_IN_GOLD = "the gold answer has a comma, and commas are forbidden"
BAD_GOLD = "the gold answer does not verify against itself"


@dataclass(frozen=True, slots=True)
class Suite:
    """A named list of prompt items.

    ``flags`` maps a known fault of the data to the ids of the items that have it: they stay in the suite, so
    that figures compare with published ones, and the results name them. ``kind`` says how responses are scored.
    """

    name: str
    items: tuple[PromptItem, ...]
    flags: Mapping[str, tuple[str, ...]]
    kind: SuiteKind = field(default_factory=lambda: SuiteKind(), compare=False)

    def fingerprint(self) -> str:
        """Return a hash of all items: results compare only where it is the same."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(json.dumps(item.to_dict(), sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()[:16]

    def twins(self) -> tuple[PromptItem, ...]:
        """Return the constrained items once more, without their constraints; their ids end in ``#without``.

        Raises:
            DataError: a prompt does not end in the texts of its checklist, so they cannot be taken out.
        """
        return tuple(_twin(item) for item in self.items if item.checklist)


@dataclass(frozen=True, slots=True)
class SuiteSource:
    """What a recipe says about a suite's items: ``path``, ``subsets``, ``limit``, ``revision`` and ``few_shot``.

    ``recipe_items`` builds the recipe's own evaluation items; only ``SuiteKind.load`` may call it.
    """

    path: Path | None = None
    subsets: Sequence[str] | None = None
    recipe_items: Callable[[], Iterable[PromptItem]] = tuple
    limit: int | None = None
    revision: str | None = None
    few_shot: int = 0


class SuiteKind:
    """One kind of suite. Subclass it, define ``items``, and decorate it: ``@suite("name")``.

    The driver calls ``problems`` and ``fingerprint`` while it plans, so they neither generate nor download;
    ``items`` is called in the worker that evaluates.
    """

    modes: ClassVar[Sequence[Mode]] = MODES
    """Values of ``evaluation.mode`` that the suite can be measured in; the first is suggested for others."""

    twins: ClassVar[bool] = True
    """Whether prompts can be asked without their constraints (``evaluation.without_constraints``)."""

    hub: ClassVar[str | None] = None
    """Data set that the items come from where no path is given: ``owner/name``, with ``@REVISION`` to pin one."""

    examples: ClassVar[bool] = False
    """Whether ``SuiteSource.few_shot`` examples can stand before each question."""

    headline: ClassVar[str | None] = None
    """The metric that stands for the suite in a table of several; ``None``: joint, else accuracy, else HAcc."""

    name: ClassVar[str] = "prompts"

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        """Return the prompt items, each with an id of its own."""
        raise NotImplementedError

    def title(self, source: SuiteSource) -> str:
        """Return what results and tables call the suite."""
        return self.name

    def files(self, source: SuiteSource) -> list[Path]:
        """Return the files that the items come from; training keeps their questions out of its data."""
        if source.path is None:
            return []
        return sorted(source.path.glob("*.jsonl")) if source.path.is_dir() else [source.path]

    def example_files(self, source: SuiteSource) -> list[Path]:
        """Return the files that few-shot examples come from; training may read these."""
        return []

    def fingerprint(self, source: SuiteSource) -> str | None:
        """Return what identifies the items in a stage's key; ``None`` where they are the recipe's evaluation data.

        Here it is the names and the content of ``files``. A plug-in's code counts in the key in any case.
        """
        files = [file for file in (*self.files(source), *self.example_files(source)) if file.exists()]
        content = [[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files]
        if source.path is None and self.hub is not None:
            content.append(["hub", self.hub if source.revision is None else f"{self.hub}@{source.revision}"])
        if source.few_shot:
            content.append(["few_shot", str(source.few_shot)])
        return hashlib.sha256(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()

    def problems(self, source: SuiteSource) -> list[str]:
        """Return what of ``source`` cannot work, each with its dotted key and what to do."""
        return []

    def load(self, source: SuiteSource) -> Suite:
        """Return the items as a suite, the first ``source.limit`` of them.

        Raises:
            DataError: there is no item, one is not a prompt item, or two share an id.
        """
        made = prompt_suite(self.title(source), self.items(source), source.limit)
        return replace(made, kind=self, flags={**made.flags, **self.flags(made.items)})

    def flags(self, items: Sequence[PromptItem]) -> Mapping[str, tuple[str, ...]]:
        """Return known faults of the data, and the ids of the items that have them."""
        return {}

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        """Return the score of each response; a suite with figures of its own puts them into ``Score.measures``.

        Args:
            pairs: items with one response each.
            mode: the constraint checkers that decide.
            engine: worker pool of whatever may take long; default: the shared one.
            judge: decides the requirements that only a judge can.
        """
        return score_responses(pairs, mode, engine, judge)

    def figures(self, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> Mapping[str, Any]:
        """Return further metrics that are not means over responses, each in the form of ``Estimate.to_dict``."""
        return {}


def _problem(name: str, kind: SuiteKind) -> str | None:
    if not isinstance(kind, SuiteKind):
        return "is not a subclass of adhere.evaluation.suites.SuiteKind"
    if type(kind).items is SuiteKind.items:
        return "has no method items(self, source) that returns its prompt items"
    if not kind.modes or (unknown := [mode for mode in kind.modes if mode not in MODES]):
        return f"needs modes out of {', '.join(MODES)}" + (f", got {unknown[0]!r}" if kind.modes else ", got none")
    return None


SUITES: Registry[SuiteKind] = Registry("suite", _problem)
"""The suites that ``evaluation.suite`` can name, ours and those of plug-ins."""


def suite(name: str) -> Callable[[K], K]:
    """Return a decorator that enters a subclass of :class:`SuiteKind` as the suite ``name``.

    Raises:
        ConfigError: the name is taken, or the class lacks something; the message says what.
    """

    def enter(kind: K) -> K:
        made: Any = kind() if isinstance(kind, type) and issubclass(kind, SuiteKind) else kind
        SUITES.add(name, made, kind.__module__)
        kind.name = name
        return kind

    return enter


def prompt_suite(name: str, items: Iterable[PromptItem], limit: int | None = None) -> Suite:
    """Make a suite of any prompt items, such as a recipe's evaluation data.

    Raises:
        DataError: there is no item, one is not a prompt item, or two items share an id.
    """
    chosen = tuple(items)[:limit]
    if wrong := [item for item in chosen if not isinstance(item, PromptItem)]:
        raise DataError(f"suite '{name}': {wrong[0]!r:.200} is a {type(wrong[0]).__name__}, not a PromptItem")
    if not chosen:
        raise DataError(f"suite '{name}': has no prompt items")
    seen: set[str] = set()
    for item in chosen:
        if item.id in seen:
            raise DataError(f"suite '{name}': two items have the id '{item.id}'; results are kept by id, so rename one")
        seen.add(item.id)
        check_characters(item, f"suite '{name}': item '{item.id}'")
    return Suite(name, chosen, _flags(chosen))


def _twin(item: PromptItem) -> PromptItem:
    # MathIF's texts are joined without a space, so its plain prompt is kept beside the item
    plain = item.meta.get("plain_prompt")
    if plain is None:
        bare = without_constraints(item)
    else:
        bare = replace(item, messages=(Message(role="user", content=str(plain)),), checklist=())
    return replace(bare, id=item.id + TWIN_SUFFIX, target=None, meta={**item.meta, "twin_of": item.id})


def _flags(items: Sequence[PromptItem]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {UNSATISFIABLE: [], COMMA_IN_GOLD: [], BAD_GOLD: []}
    golds: dict[str, bool] = {}
    for item in items:
        checks = {rule.constraint: rule.kwargs for requirement in item.checklist for rule in requirement.rules}
        no_comma = "punctuation:no_comma" in checks
        if no_comma and "," in str(checks.get("combination:repeat_prompt", {}).get("prompt_to_repeat", "")):
            found[UNSATISFIABLE].append(item.id)
        if item.answer is None:
            continue
        if no_comma and "," in item.answer:
            found[COMMA_IN_GOLD].append(item.id)
        if item.answer not in golds:
            golds[item.answer] = check_gold(item.answer).passed
        if not golds[item.answer]:
            found[BAD_GOLD].append(item.id)
    return {flag: tuple(ids) for flag, ids in found.items() if ids}
