"""Decide whether a response answers a question correctly: the exact path here, algebra in the engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache

from adhere.rewards.engine import Engine, default_engine, machine_failed
from adhere.rewards.math.algebra import decide
from adhere.rewards.math.canonical import MAX_CHARS, MAX_DEPTH, canonical, nesting
from adhere.rewards.math.equality import algebraic_gold, equal
from adhere.rewards.math.expression import read_term
from adhere.rewards.math.extract import extract_answer
from adhere.rewards.math.gold import READS, gold_problem, normalise_gold
from adhere.rewards.math.limits import too_expensive
from adhere.rewards.segments import split_response
from adhere.rewards.verdict import Status, Verdict, failed, passed, unscored

COMPARE = "adhere.rewards.math.symbolic:compare_symbolically"

NO_ANSWER = "no answer found"
TOO_COSTLY = "answer too expensive to compare with the gold one"


def verify_answer(gold: str, response: str, *, timeout: float = 10.0) -> Verdict:
    """Return 1.0 where ``response`` commits to the gold answer, 0.0 where it commits to another or to none.

    What counts is the part after ``</think>``; an unfinished reasoning block is not an answer. Not scored:
    ``unparsed`` where ``gold`` cannot be read, or cannot be compared with itself within ``timeout`` seconds of
    processor time. An answer over the bounds of :mod:`rewards.math.limits`, longer than 2,000 characters or nested
    deeper than 40 brackets, is wrong, and so is one that gets past them and uses up ``timeout``, or makes the
    comparison fail: it must not earn more than a wrong one. May be called from any thread.
    """
    answer = split_response(response).answer
    if answer is None:
        return _unreadable_gold(gold) or failed(f"{NO_ANSWER}: the reasoning is not finished")
    (verdict,) = verify_batch([(gold, answer)], default_engine(), timeout=timeout)
    return verdict


def verify_batch(
    pairs: Sequence[tuple[str | None, str]], engine: Engine, *, timeout: float | None = None
) -> list[Verdict]:
    """Return a verdict for each pair of a gold answer and the text to find the answer in, in order.

    Most pairs are decided here without algebra; the others go to ``engine`` in one batch. A gold answer of
    ``None`` is ``not_applicable``. The text is searched whole: cut off the reasoning first
    (:mod:`rewards.segments`). ``timeout`` is for one pair, in seconds of processor time; the engine's own deadline
    where it is left out.
    """
    verdicts: list[Verdict | None] = []
    open_places: list[int] = []
    open_pairs: list[tuple[str, str]] = []
    for place, (gold, response) in enumerate(pairs):
        start = time.perf_counter()
        result = decide_here(gold, response)
        if isinstance(result, Verdict):
            seconds = time.perf_counter() - start
            verdicts.append(Verdict(result.score, result.status, result.detail, seconds))
        else:
            verdicts.append(None)
            open_places.append(place)
            open_pairs.append(result)
    if open_pairs:
        compared = engine.map(COMPARE, open_pairs, deadline=timeout)
        # A comparison without an end is the answer's fault, unless the gold answer has none with itself either.
        failures = (Status.TIMEOUT, Status.ERROR)
        lost = [i for i, v in enumerate(compared) if v.status in failures and not machine_failed(v)]
        golds = engine.map(READS, [(open_pairs[i][0],) for i in lost], deadline=timeout)
        for i, itself in zip(lost, golds, strict=True):
            if itself.passed:
                compared[i] = Verdict(0.0, detail=f"{TOO_COSTLY}: {compared[i].detail}", seconds=compared[i].seconds)
            elif not machine_failed(itself):
                why = f"the gold answer cannot be compared: {itself.detail}: {open_pairs[i][0][:80]!r}"
                compared[i] = unscored(Status.UNPARSED, why)
        for place, verdict in zip(open_places, compared, strict=True):
            verdicts[place] = verdict
    return [verdict for verdict in verdicts if verdict is not None]


def decide_here(gold: str | None, response: str) -> Verdict | tuple[str, str]:
    """Return the verdict of the exact path, or the canonical pair that algebra has to decide."""
    if gold is None:
        return unscored(Status.NOT_APPLICABLE, "no gold answer")
    unreadable = _unreadable_gold(gold)
    if unreadable is not None:
        return unreadable
    found = extract_answer(response)
    if found is None:
        return failed(NO_ANSWER)
    if len(found) > MAX_CHARS:
        return failed(f"answer longer than {MAX_CHARS} characters")
    if nesting(found) > MAX_DEPTH:
        return failed(f"answer nested deeper than {MAX_DEPTH} brackets")
    canonical_gold, answer = _canonical_gold(gold), canonical(found)
    same = equal(canonical_gold, answer, decide)
    if same is None:
        return _within_cost(canonical_gold, answer)
    return passed(f"{answer[:80]} is the gold answer") if same else failed(f"{answer[:80]} is not {gold[:80]}")


def _within_cost(gold: str, answer: str) -> Verdict | tuple[str, str]:
    """Return the pair for algebra, or the verdict that the answer costs too much where the gold one does not.

    Such an answer is wrong and not unscored: an answer that nobody can evaluate must not earn more than a wrong one.
    """
    reason = too_expensive(answer)
    if not reason or too_expensive(gold):
        return gold, answer
    detail = f"{TOO_COSTLY}: {reason}"
    return failed(detail) if read_term(gold) or not algebraic_gold(gold) else (gold, "")


@lru_cache(maxsize=16_384)
def _canonical_gold(gold: str) -> str:
    return canonical(normalise_gold(gold))


@lru_cache(maxsize=16_384)  # a group's completions share their gold answer
def _unreadable_gold(gold: str) -> Verdict | None:
    problem = gold_problem(_canonical_gold(gold))
    return unscored(Status.UNPARSED, f"{problem}: {gold[:80]!r}") if problem else None
