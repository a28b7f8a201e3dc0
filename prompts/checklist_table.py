"""What the checklists of a file hold: counts, weights, kinds and doubts, and the rows that are invalid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from adhere.prompts.item import Row, read_rows
from adhere.rewards.checklist.generation.review import Candidate, contradicts, repeats
from adhere.rewards.checklist.generation.rows import check_written_rows, kind
from adhere.rewards.checklist.generation.words import flags
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.errors import ConstraintError, DataError


@dataclass(frozen=True, slots=True)
class ItemSummary:
    """One item: its id, the weights and kinds of its requirements in order, and how often each flag was raised."""

    id: str
    weights: tuple[float, ...]
    kinds: tuple[str, ...]
    flags: Mapping[str, int]


@dataclass(slots=True)
class Inspection:
    """The items of a file, and one message for each invalid row, which names file and line."""

    items: list[ItemSummary] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)


def inspect_file(path: Path) -> Inspection:
    """Look at every row of a file of prompt items; a file that cannot be read further ends the list.

    Raises:
        DataError: there is no such file, or it is of another kind, or holds no row.
    """
    found = Inspection()
    rows = read_rows(path)
    seen: dict[str, str] = {}
    while True:
        try:
            row = next(rows, None)
        except DataError as error:
            found.invalid.append(f"{error} (the rest of the file was not read)")
            break
        if row is None:
            break
        try:
            one = _summary(row)
            if one.id in seen:
                raise DataError(f"{row.where}: id '{one.id}' occurs twice, first at {seen[one.id]}")
            seen[one.id] = row.where
            found.items.append(one)
        except (DataError, ConstraintError) as error:
            found.invalid.append(str(error))
    if not found.items and not found.invalid:
        raise DataError(f"{path}: holds no row")
    return found


def _summary(row: Row) -> ItemSummary:
    if not isinstance(row.values.get("messages"), list) or not row.values["messages"]:
        raise DataError(f"{row.where}: lacks messages; a prompt item is {{id, messages, answer, checklist, source}}")
    rows = check_written_rows(row.values.get("checklist") or (), row.where)
    raised: Counter[str] = Counter()
    candidates = []
    for requirement in rows:
        check, text = requirement["check"], str(requirement["text"])
        always = kind(requirement) == "rule" and requirement.get("only_if") is None
        rule = RuleCheck(check["constraint"], dict(check.get("kwargs") or {})) if always else None
        candidates.append(Candidate(text, float(requirement.get("weight", 100.0)), rule))
        raised.update(flags(text, mapped=kind(requirement) != "judge"))
    for one, other in combinations(candidates, 2):
        if repeats(one, other):
            raised["duplicate"] += 1
        elif contradicts(one, other):
            raised["contradictory"] += 1
    return ItemSummary(
        id=str(row.values.get("id", row.key)),
        weights=tuple(candidate.weight for candidate in candidates),
        kinds=tuple(kind(requirement) for requirement in rows),
        flags=raised,
    )


def show(found: Inspection, limit: int) -> None:
    """Print the first ``limit`` items as a table, and the totals of all."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("item", "requirements", "weights", "kinds", "flags")
    for item in found.items[:limit]:
        weights = " ".join(f"{weight:g}" for weight in item.weights)
        table.add_row(escape(item.id), str(len(item.kinds)), weights, _tally(Counter(item.kinds)), _tally(item.flags))
    console = Console()
    console.print(table)
    if len(found.items) > limit:
        console.print(f"... and {len(found.items) - limit} more items (limit=N shows more)")
    for line in totals(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def totals(found: Inspection) -> list[str]:
    """Return the totals of a file, as lines."""
    kinds: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    for item in found.items:
        kinds.update(item.kinds)
        doubts.update(item.flags)
    with_any = [item for item in found.items if item.kinds]
    rules_only = sum(set(item.kinds) == {"rule"} for item in with_any)
    count = sum(kinds.values())
    mean = count / len(with_any) if with_any else 0.0
    return [
        f"items {len(found.items)}, with a checklist {len(with_any)}, decided only by rules {rules_only}, "
        f"invalid rows {len(found.invalid)}",
        f"requirements {count} ({mean:.2f} an item with a checklist): {_tally(kinds) or 'none'}",
        f"flags: {_tally(doubts) or 'none'}",
    ]


def _tally(counts: Mapping[str, int]) -> str:
    return " ".join(f"{name} {count}" for name, count in sorted(counts.items()))
