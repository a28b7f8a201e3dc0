"""The requirements of a checklist: the checks that decide them, alone or composed, and their JSON form."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from adhere.rewards.constraints import Checker, prepare
from adhere.rewards.errors import DataError, nearest

ENTRY_POINT = "verify_requirement"
MAX_DEPTH = 8
"""How deep checks may nest; a single rule has depth 1."""

MAX_CODE_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """Decide a requirement by the constraint checker ``constraint`` with ``kwargs``.

    Without a ``checker`` the arguments are validated here, once for all responses; ``of`` takes a checker as it is.

    Raises (on creation):
        ConstraintError: an unknown constraint, or arguments that it does not take.
    """

    kind: ClassVar[str] = "rule"
    constraint: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    checker: Checker = field(default=None, repr=False, compare=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.checker is None:
            checker = prepare(self.constraint, self.kwargs)
            object.__setattr__(self, "checker", checker)
            object.__setattr__(self, "kwargs", checker.kwargs)

    @classmethod
    def of(cls, checker: Checker) -> RuleCheck:
        """Return the check that ``checker`` decides."""
        return cls(checker.id, checker.kwargs, checker)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": "rule", "constraint": self.constraint, "kwargs": dict(self.kwargs)}


@dataclass(frozen=True, slots=True)
class ProgramCheck:
    """Decide a requirement by running ``code``, which defines ``verify_requirement(text) -> bool``, in the sandbox."""

    kind: ClassVar[str] = "program"
    code: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": "program", "code": self.code}


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """Ask a judge. ``question`` is what it is asked; ``None`` stands for the requirement's own text.

    With a ``program`` the score is the mean of the two (RLCF, arXiv 2507.18624). Where either could not decide there is
    none: with only the judge's, a response that crashes a program would earn more than one that the program refuses.
    """

    kind: ClassVar[str] = "judge"
    question: str | None = None
    program: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; absent parts are left out."""
        given = {"question": self.question, "program": self.program}
        return {"type": "judge"} | {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SuiteCheck:
    """A rule of an evaluation suite, which decides it itself; nothing else can, and no file of prompts can name it.

    ``name`` is what results group it under, such as ``count:word_count_range`` of IFBench.
    """

    kind: ClassVar[str] = "suite"
    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": "suite", "name": self.name, "kwargs": dict(self.kwargs)}


@dataclass(frozen=True, slots=True)
class AndCheck:
    """All of ``checks``: the smallest of their scores.

    The minimum, not the product: a part that is asked twice changes nothing, and graded scores of a judge do not
    shrink with the number of parts (0.9 five times stays 0.9, where the product says 0.59).
    """

    kind: ClassVar[str] = "and"
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": "and", "checks": [check.to_dict() for check in self.checks]}


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """Ordered steps: each counts only if all before it are met (ComplexBench, arXiv 2407.03978).

    The score is the mean over the steps, those after the first unmet one counting 0; they are not even looked at.
    """

    kind: ClassVar[str] = "chain"
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": "chain", "checks": [check.to_dict() for check in self.checks]}


@dataclass(frozen=True, slots=True)
class SelectCheck:
    """If the response meets ``condition``, ``then`` decides, else ``otherwise`` (ComplexBench's selection).

    Without an ``otherwise`` a response that does not meet the condition is ``not_applicable``.
    """

    kind: ClassVar[str] = "select"
    condition: Check
    then: Check
    otherwise: Check | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form ``{type, if, then, else}``."""
        other = None if self.otherwise is None else self.otherwise.to_dict()
        return {"type": "select", "if": self.condition.to_dict(), "then": self.then.to_dict(), "else": other}


Leaf: TypeAlias = RuleCheck | ProgramCheck | JudgeCheck | SuiteCheck
Check: TypeAlias = RuleCheck | ProgramCheck | JudgeCheck | SuiteCheck | AndCheck | ChainCheck | SelectCheck


def leaves(check: Check) -> Iterator[Leaf]:
    """Yield the rules, programs and judge questions that a check is made of, in order."""
    match check:
        case AndCheck() | ChainCheck():
            for part in check.checks:
                yield from leaves(part)
        case SelectCheck():
            for branch in (check.condition, check.then, check.otherwise):
                if branch is not None:
                    yield from leaves(branch)
        case _:
            yield check


def label(check: Check) -> str:
    """Return the name under which results are grouped: a rule's id, or else the kind of check."""
    if isinstance(check, SuiteCheck):
        return check.name
    return check.constraint if isinstance(check, RuleCheck) else check.kind


CHECK_KEYS: Mapping[str, tuple[str, ...]] = {
    "rule": ("constraint", "kwargs"),
    "judge": ("question", "program"),
    "program": ("code",),
    "and": ("checks",),
    "chain": ("checks",),
    "select": ("if", "then", "else"),
}
"""For each kind of check the keys that it takes beside ``type``."""


def parse_check(row: Any, where: str, depth: int = 1) -> Check:
    """Build a check from its JSON form; ``type`` is ``rule`` where there is none.

    Keys whose value is null count as absent: that is what parquet makes of rows with different keys.

    Raises:
        DataError: an unknown kind or key, a part that is missing or of the wrong type, code that is not Python or lacks
            ``verify_requirement``, or more than ``MAX_DEPTH`` levels. The message opens with ``where``, the dotted
            place of the check.
        ConstraintError: a rule names an unknown constraint, or arguments that it does not take.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: is {type(row).__name__}; a check is an object such as {{type: rule, constraint}}")
    if depth > MAX_DEPTH:
        raise DataError(f"{where}: nests deeper than {MAX_DEPTH} checks; split the requirement")
    given = {key: value for key, value in row.items() if value is not None}
    kind = given.pop("type", "rule")
    if not isinstance(kind, str) or kind not in CHECK_KEYS:
        hint = nearest(str(kind), CHECK_KEYS)
        raise DataError(f"{where}.type: '{kind}' is not a kind of check{hint}; known: {', '.join(CHECK_KEYS)}")
    keys = CHECK_KEYS[kind]
    for key in given:
        if key not in keys:
            takes = f"takes {', '.join(keys)}"
            raise DataError(f"{where}.{key}: unknown key{nearest(str(key), keys)}; a check of type '{kind}' {takes}")

    match kind:
        case "rule":
            if "constraint" not in given:
                raise DataError(f"{where}: names no constraint; a rule is {{type: rule, constraint, kwargs}}")
            return RuleCheck.of(prepare(given["constraint"], given.get("kwargs"), where))
        case "judge":
            question = given.get("question")
            if question is not None and (not isinstance(question, str) or not question.strip()):
                raise DataError(
                    f"{where}.question: {question!r} is not a question; leave it out to ask the requirement's text"
                )
            program = _code(given["program"], f"{where}.program") if "program" in given else None
            return JudgeCheck(question, program)
        case "program":
            if "code" not in given:
                raise DataError(f"{where}: has no code; a program is {{type: program, code}}")
            return ProgramCheck(_code(given["code"], f"{where}.code"))
        case "and" | "chain":
            rows = given.get("checks")
            if isinstance(rows, str) or not isinstance(rows, Sequence) or not rows:
                raise DataError(f"{where}.checks: needs a list of one or more checks, got {rows!r}")
            checks = tuple(parse_check(row, f"{where}.checks[{i}]", depth + 1) for i, row in enumerate(rows))
            return AndCheck(checks) if kind == "and" else ChainCheck(checks)
        case _:
            lacking = [key for key in ("if", "then") if key not in given]
            if lacking:
                raise DataError(f"{where}: lacks {', '.join(lacking)}; a selection is {{type: select, if, then, else}}")
            parts = {key: parse_check(value, f"{where}.{key}", depth + 1) for key, value in given.items()}
            return SelectCheck(parts["if"], parts["then"], parts.get("else"))


def _code(code: Any, where: str) -> str:
    if not isinstance(code, str) or not code.strip():
        raise DataError(f"{where}: needs Python that defines {ENTRY_POINT}(text) -> bool, got {code!r}")
    if len(code) > MAX_CODE_CHARS:
        raise DataError(f"{where}: is {len(code)} characters long; at most {MAX_CODE_CHARS}")
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{where}: is not Python ({type(error).__name__}: {error}); drop or repair it") from error
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in tree.body:
        if isinstance(node, ast.Assign):
            defined += [target.id for target in node.targets if isinstance(target, ast.Name)]
    if ENTRY_POINT not in defined:
        raise DataError(f"{where}: does not define {ENTRY_POINT}(text) -> bool at its top level")
    return code


Category = Literal["essential", "important", "optional", "pitfall"]

CATEGORY_WEIGHTS: Mapping[Category, float] = MappingProxyType(
    {"essential": 100.0, "important": 70.0, "optional": 30.0, "pitfall": 90.0}
)
"""The weight of a requirement that has a category and no weight (Rubrics as Rewards, arXiv 2507.17746, times 100)."""

MAX_DEPENDENCIES = 32
"""How many requirements may hang on one another in a row."""

KEYS = ("id", "text", "check", "weight", "category", "only_if")
FORM = "a requirement is {id, text, weight, category, only_if, check}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a response has to do: what it says (``text``), how much it counts, how it is decided.

    ``weight`` lies in [0, 100]; RLCF's anchors are 100 critical, 75 important, 50 expected, 25 a preference.
    ``only_if`` is the id of another requirement of the checklist: where that one is not met, this one does not apply.
    ``category`` is a label of Rubrics as Rewards. A ``pitfall`` is worded as what a good response avoids ("does not
    ..."), so that met is good.
    """

    id: str
    text: str
    check: Check
    weight: float = 100.0
    only_if: str | None = None
    category: Category | None = None

    @property
    def label(self) -> str:
        """The name under which results are grouped: a rule's constraint id, else the kind of check."""
        return label(self.check)

    @property
    def rule(self) -> RuleCheck | None:
        """The constraint checker, where one alone and unconditionally decides."""
        return self.check if isinstance(self.check, RuleCheck) and self.only_if is None else None

    @property
    def rules(self) -> tuple[RuleCheck, ...]:
        """The constraint checkers in the check, also those inside compositions."""
        return tuple(leaf for leaf in leaves(self.check) if isinstance(leaf, RuleCheck))

    @property
    def needs_judge(self) -> bool:
        """Whether deciding it may take a judge."""
        return any(isinstance(leaf, JudgeCheck) for leaf in leaves(self.check))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``parse_checklist`` makes an equal requirement of it."""
        row = {"id": self.id, "text": self.text, "weight": self.weight, "check": self.check.to_dict()}
        optional = {"only_if": self.only_if, "category": self.category}
        return row | {key: value for key, value in optional.items() if value is not None}


def parse_checklist(rows: Sequence[Mapping[str, Any]], where: str) -> tuple[Requirement, ...]:
    """Build requirements from their JSON form; ``where`` (file and line) opens the message of every error.

    Raises:
        DataError: it is not a list of objects; or one of them has an unknown key, lacks one, has a weight that is no
            number in [0, 100], an unknown category, a check that cannot be used, or an ``only_if`` that names no other
            requirement, several, or (in a circle) itself, or hangs on too many in a row.
        ConstraintError: a rule names an unknown constraint, or arguments that it does not take.
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise DataError(f"{where}: checklist is {type(rows).__name__}, not a list of requirements")
    checklist = tuple(_parse(row, f"{where}: checklist[{i}]") for i, row in enumerate(rows))
    check_dependencies(checklist, f"{where}: ")
    return checklist


def check_dependencies(checklist: Sequence[Requirement], where: str = "") -> None:
    """Check that every ``only_if`` names exactly one requirement, and that following them soon ends.

    Raises:
        DataError: naming the place.
    """
    if not any(r.only_if is not None for r in checklist):
        return
    counts = Counter(r.id for r in checklist)
    after = {r.id: r.only_if for r in checklist}
    for i, requirement in enumerate(checklist):
        wanted, place = requirement.only_if, f"{where}checklist[{i}].only_if"
        if wanted is None:
            continue
        if wanted not in counts:
            raise DataError(f"{place}: no requirement has the id '{wanted}'{nearest(wanted, counts)}")
        if counts[wanted] > 1:
            raise DataError(f"{place}: {counts[wanted]} requirements have the id '{wanted}'; give each its own")
        path = [requirement.id]
        following: str | None = wanted
        while following is not None:
            if following in path:
                raise DataError(f"{place}: goes round in a circle ({' -> '.join([*path, following])})")
            path.append(following)
            following = after[following]
        if len(path) > MAX_DEPENDENCIES:
            raise DataError(f"{place}: hangs on more than {MAX_DEPENDENCIES - 1} others in a row; shorten the line")


def _parse(row: Any, where: str) -> Requirement:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: is {type(row).__name__}; {FORM}")
    given = {key: value for key, value in row.items() if value is not None}
    for key in given:
        if key not in KEYS:
            raise DataError(f"{where}.{key}: unknown key{nearest(str(key), KEYS)}; {FORM}")
    missing = [key for key in ("id", "text", "check") if key not in given]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}; {FORM}")
    category = given.get("category")
    if category is not None and category not in get_args(Category):
        hint = nearest(str(category), get_args(Category))
        raise DataError(f"{where}.category: '{category}' is not one of {', '.join(get_args(Category))}{hint}")
    weight = given.get("weight", 100.0 if category is None else CATEGORY_WEIGHTS[category])
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.0 <= weight <= 100.0:
        raise DataError(f"{where}.weight: {weight!r} is not a number in [0, 100]")
    return Requirement(
        id=str(given["id"]),
        text=str(given["text"]),
        check=parse_check(given["check"], f"{where}.check"),
        weight=float(weight),
        only_if=None if "only_if" not in given else str(given["only_if"]),
        category=category,
    )
