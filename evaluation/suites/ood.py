"""The suite ``ood``: word problems beside their variants out of distribution, with golds that are worked out anew.

Each problem is asked as it is, with one number changed (``number``), with one element removed (``n_minus_1``, after
arXiv 2603.23004), with a clause that does not matter (``clause``), with more elements (``longer``), and with the same
facts as a table (``format``). Problems and golds are made here: costs of a basket, shortest ways, and what fits into
a bag. A variant whose gold would not change, or that has no solution, is not made.

``accuracy_VARIANT`` is the accuracy of each; ``gap_VARIANT`` its difference from the original, paired by problem.
``template_echo`` is, where a change has moved the gold, the share of responses that give the original's answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import Score, ScoredRow, score_responses
from adhere.evaluation.statistics import Bootstrap, prompt_means
from adhere.evaluation.suites.base import SuiteKind, SuiteSource, suite
from adhere.evaluation.suites.following import judged_text
from adhere.prompts.item import PromptItem
from adhere.prompts.sources import PromptStyle
from adhere.rewards.checklist import Decider
from adhere.rewards.constraints import Mode
from adhere.rewards.engine import Engine, default_engine
from adhere.rewards.math import verify_batch

PROBLEMS = 40
ORIGINAL, MOVED = "original", ("number", "n_minus_1", "longer")
VARIANTS = (ORIGINAL, "number", "n_minus_1", "clause", "longer", "format")

THINGS = ("apples", "pens", "lamps", "books", "plates", "chairs", "shirts", "clocks", "ropes", "bowls")
CLAUSES = (
    "Five of the people in the room wear glasses.",
    "Last year there was a storm on that day, which lasted 3 hours.",
    "A cousin has 14 stamps in her collection.",
    "The nearest station is 2 minutes away and was painted green 6 years ago.",
)

Element = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class MadeProblem:
    """A problem before it is worded: its kind, its elements, and one number beside them (0 where there is none)."""

    kind: str
    elements: tuple[Element, ...]
    limit: int = 0


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """How problems of one kind are drawn, worded, solved and changed."""

    draw: Callable[[random.Random], MadeProblem]
    element: Callable[[random.Random, MadeProblem], Element]
    say: Callable[[Element], str]
    heads: tuple[str, ...]
    opening: str
    question: str
    solve: Callable[[MadeProblem], int | None]


def _cost(problem: MadeProblem) -> int | None:
    return sum(int(count) * int(price) for _, count, price in problem.elements)


def _shortest(problem: MadeProblem) -> int | None:
    """Return the length of the shortest way from A to F (Bellman and Ford); ``None`` where there is none."""
    best: dict[str, int] = {"A": 0}
    for _ in problem.elements:
        for one, other, length in problem.elements:
            for start, end in ((str(one), str(other)), (str(other), str(one))):
                if start in best and best[start] + int(length) < best.get(end, 1 << 30):
                    best[end] = best[start] + int(length)
    return best.get("F")


def _packed(problem: MadeProblem) -> int | None:
    """Return the largest worth of things whose weight is within the limit, of all choices."""
    return max(
        sum(int(thing[2]) for thing, taken in zip(problem.elements, choice, strict=True) if taken)
        for choice in product((False, True), repeat=len(problem.elements))
        if sum(int(thing[1]) for thing, taken in zip(problem.elements, choice, strict=True) if taken) <= problem.limit
    )


def _draw_ways(draw: random.Random) -> MadeProblem:
    through = draw.sample("BCDE", 4)
    roads = list(zip(["A", *through], [*through, "F"], strict=True))
    others = [(a, b) for a in "ABCDEF" for b in "ABCDEF" if a < b and (a, b) not in roads and (b, a) not in roads]
    return MadeProblem("ways", tuple((a, b, draw.randint(2, 20)) for a, b in roads + draw.sample(others, 3)))


def _new_way(draw: random.Random, problem: MadeProblem) -> Element:
    held = {frozenset(map(str, road[:2])) for road in problem.elements}
    free = [(a, b) for a in "ABCDEF" for b in "ABCDEF" if a < b and frozenset((a, b)) not in held]
    return (*draw.choice(free), draw.randint(1, 12))


def _new_thing(draw: random.Random, problem: MadeProblem) -> Element:
    return (
        draw.choice([thing for thing in THINGS if thing not in {e[0] for e in problem.elements}]),
        draw.randint(2, 9),
        draw.randint(2, 30),
    )


KINDS: Mapping[str, ProblemKind] = {
    "basket": ProblemKind(
        draw=lambda draw: MadeProblem(
            "basket", tuple((t, draw.randint(2, 12), draw.randint(2, 25)) for t in draw.sample(THINGS, 4))
        ),
        element=_new_thing,
        say=lambda e: f"There are {e[1]} {e[0]} in it, for {e[2]} dollars each.",
        heads=("thing", "count", "dollars each"),
        opening="Somebody pays for a basket.",
        question="How many dollars does the whole basket cost?",
        solve=_cost,
    ),
    "ways": ProblemKind(
        draw=_draw_ways,
        element=_new_way,
        say=lambda e: f"A road of {e[2]} km joins {e[0]} and {e[1]}.",
        heads=("from", "to", "km, both ways"),
        opening="Six towns are called A, B, C, D, E and F.",
        question="How many km has the shortest way from A to F?",
        solve=_shortest,
    ),
    "bag": ProblemKind(
        draw=lambda draw: MadeProblem(
            "bag",
            tuple((t, draw.randint(2, 9), draw.randint(2, 30)) for t in draw.sample(THINGS, 5)),
            draw.randint(10, 16),
        ),
        element=_new_thing,
        say=lambda e: f"The parcel of {e[0]} weighs {e[1]} kg and is worth {e[2]} dollars.",
        heads=("parcel of", "kg", "dollars"),
        opening="A bag carries at most {limit} kg.",
        question="A parcel is taken whole or left. How many dollars can the parcels in the bag be worth at most?",
        solve=_packed,
    ),
}


def worded(problem: MadeProblem, clause: str = "", *, table: bool = False) -> str:
    """Return the problem's text, with a clause before its question, or with its elements as a table."""
    kind = KINDS[problem.kind]
    opening = kind.opening.format(limit=problem.limit)
    if table:
        rows = [kind.heads, ["---"] * len(kind.heads), *problem.elements]
        facts = "\n" + "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows) + "\n"
        return f"{opening}\n{facts}\n{kind.question}"
    return " ".join([opening, *map(kind.say, problem.elements), *([clause] if clause else []), kind.question])


def variants(problem: MadeProblem, draw: random.Random) -> dict[str, tuple[str, int]]:
    """Return text and gold of the problem and of its variants; those are left out that would not move a gold."""
    solve = KINDS[problem.kind].solve
    gold = solve(problem)
    assert gold is not None
    found = {ORIGINAL: (worded(problem), gold)}
    orders = draw.sample(range(len(problem.elements)), len(problem.elements))

    def first_moved(changes: Iterable[MadeProblem]) -> tuple[str, int] | None:
        for changed in changes:
            if (other := solve(changed)) is not None and other != gold:
                return worded(changed), other
        return None

    def with_elements(elements: Sequence[Element]) -> MadeProblem:
        return replace(problem, elements=tuple(elements))

    held = list(problem.elements)
    moved = {
        "number": first_moved(
            with_elements([*held[:i], (*held[i][:2], int(held[i][2]) + draw.choice((3, 5, 7))), *held[i + 1 :]])
            for i in orders
        ),
        "n_minus_1": first_moved(with_elements([*held[:i], *held[i + 1 :]]) for i in orders),
    }
    longer = problem
    for _ in range(3):
        longer = replace(longer, elements=(*longer.elements, KINDS[problem.kind].element(draw, longer)))
    moved["longer"] = first_moved([longer])
    found |= {name: made for name, made in moved.items() if made is not None}
    found["clause"] = worded(problem, draw.choice(CLAUSES)), gold
    found["format"] = worded(problem, table=True), gold
    return {name: found[name] for name in VARIANTS if name in found}


def made_problems(seed: int = 0) -> Iterator[tuple[str, MadeProblem, random.Random]]:
    """Yield problems of all kinds in turn, each with its name and the generator of its variants."""
    for number in range(PROBLEMS):
        for name, kind in KINDS.items():
            draw = random.Random(f"ood/{seed}/{name}/{number}")
            problem = kind.draw(draw)
            yield f"{name}-{number}", problem, draw


@suite("ood")
class OutOfDistribution(SuiteKind):
    """Problems of our own and their variants; it reads no file."""

    twins = False
    modes = ("hardened",)
    headline = "accuracy"

    def problems(self, source: SuiteSource) -> list[str]:
        return ["evaluation.path: ood makes its problems; leave the path out"] if source.path else []

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        style = PromptStyle()
        for group, problem, draw in made_problems():
            made = variants(problem, draw)
            original = made[ORIGINAL][1]
            for name, (text, gold) in made.items():
                yield PromptItem(
                    id=f"ood/{group}/{name}",
                    messages=style.messages(text),
                    answer=str(gold),
                    source=f"ood/{name}",
                    question=text,
                    meta={"group": group, "variant": name, "original": str(original)},
                )

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        scores = score_responses(pairs, mode, engine, judge)
        moved = [
            i for i, (item, generation) in enumerate(pairs) if item.meta["variant"] in MOVED and not generation.error
        ]
        asked = [(pairs[i][0].meta["original"], judged_text(pairs[i][1], mode) or "") for i in moved]
        echoes = verify_batch(asked, engine or default_engine())
        for i, verdict in zip(moved, echoes, strict=True):
            scores[i] = replace(scores[i], measures={"template_echo": (verdict.score,)})
        return scores

    def figures(self, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> Mapping[str, Any]:
        by_variant: dict[str, tuple[list[float | None], list[str]]] = {}
        for row in rows:
            values, groups = by_variant.setdefault(row.item.meta["variant"], ([], []))
            values.append(row.score.correct.score)
            groups.append(row.item.meta["group"])
        found: dict[str, Any] = {
            f"accuracy_{name}": bootstrap.estimate(*columns).to_dict() for name, columns in by_variant.items()
        }
        means = {name: prompt_means(*columns) for name, columns in by_variant.items()}
        for name in means:
            if name != ORIGINAL and ORIGINAL in means:
                found[f"gap_{name}"] = bootstrap.paired_difference(means[name], means[ORIGINAL]).to_dict()
        return found
