"""The gold answer of a data set's row: bring it into form, and check that it can be verified at all."""

from __future__ import annotations

from adhere.rewards.engine import Engine, default_engine, machine_failed
from adhere.rewards.math.canonical import MAX_CHARS, MAX_DEPTH, canonical, nesting
from adhere.rewards.math.equality import algebraic_gold
from adhere.rewards.math.limits import explodes
from adhere.rewards.math.parsed_answer import Words, read
from adhere.rewards.verdict import Status, Verdict, passed, unscored

GOLD_LEEWAY = 100
"""How many times as large the numbers in a gold answer may be as those in an answer; see ``explodes``."""

READS = "adhere.rewards.math.symbolic:reads"


def normalise_gold(gold: str) -> str:
    """Return the gold answer of a data set's column: what follows GSM8K's ``####``, without ``$…$``.

    ``"… 9 * 8 = 72\\n#### 72"`` → ``"72"``; ``"1,080"`` → ``"1080"``; LaTeX stays as it is.
    """
    text = gold.rpartition("####")[2].strip()
    if text.startswith("$") and text.endswith("$") and text.count("$") == 2:
        text = text[1:-1].strip()
    whole, point, decimals = text.partition(".")
    groups = whole.lstrip("+-").split(",")
    if len(groups) > 1 and all(g.isdecimal() for g in groups) and all(len(g) == 3 for g in groups[1:]):
        return whole.replace(",", "") + point + decimals
    return text


def gold_problem(gold: str) -> str:
    """Return why ``gold`` (canonical) cannot be read, or an empty string. Algebra is not tried."""
    if len(gold) > MAX_CHARS:
        return f"the gold answer is longer than {MAX_CHARS} characters"
    if nesting(gold) > MAX_DEPTH:
        return f"the gold answer is nested deeper than {MAX_DEPTH} brackets"
    if read(gold) == Words("") or not (any(char.isalnum() for char in gold) or "\\" in gold):
        return "the gold answer is empty"
    explosive = explodes(gold, GOLD_LEEWAY)
    if explosive and algebraic_gold(gold):
        return f"the gold answer is too costly to compare: {explosive}"
    unescaped = gold.replace(r"\{", "").replace(r"\}", "")
    if unescaped.count("{") != unescaped.count("}"):
        return "the gold answer has unbalanced braces"
    return ""


def check_gold(gold: str, engine: Engine | None = None) -> Verdict:
    """Return whether ``\\boxed{gold}`` would be verified as correct: 1.0, or ``unparsed`` with the reason.

    Data loaders report every row for which it is not 1.0: a reward for such a row would teach nothing. One that uses up
    the engine's deadline is such a row too.
    """
    text = canonical(normalise_gold(gold))
    problem = gold_problem(text)
    if problem:
        return unscored(Status.UNPARSED, f"{problem}: {gold[:80]!r}")
    if not algebraic_gold(text):
        return passed("exact")
    (verdict,) = (engine or default_engine()).map(READS, [(text,)])
    if verdict.status in (Status.TIMEOUT, Status.ERROR) and not machine_failed(verdict):
        return unscored(Status.UNPARSED, f"the gold answer cannot be compared: {verdict.detail}: {gold[:80]!r}")
    return verdict
