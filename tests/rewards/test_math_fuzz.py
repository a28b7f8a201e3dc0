"""Every input gets a verdict: random pieces of LaTeX as gold answers and as responses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adhere.rewards.engine import Engine
from adhere.rewards.math import verify_batch
from adhere.rewards.verdict import Status

_PIECES = r"""
\frac { } ( ) [ ] ^ _ \sqrt \pi \infty \text{ \text{or} \cup \pm \mod \pmod{3} ! \binom{3}{2} \sum_{k=1}^{3}
\le < > = \ne \in \mathbb{Z} , ; | \left \right. & \\ \begin{pmatrix} \end{pmatrix} \begin{array}{c}
\end{array} % $ ^\circ \sin \ln e i x n 0 1 25 - + / \cdot \dot3 \overline{ \approx \emptyset \{ \} √ ² ⅓ ₈
\color{red} \mathrm{e} \choose \lor \land ' \lfloor \boxed{ \cancel{ apples cm (C) or and maybe \quad 7.5
"""
PIECES = _PIECES.split()
latex = st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map(" ".join) | st.lists(
    st.sampled_from(PIECES), min_size=1, max_size=9
).map("".join)
GOLDS = [
    "7",
    r"\frac{1}{2}",
    r"\sqrt{2}",
    "x+1",
    "(1,3)",
    "1<x<3",
    r"\text{Yes}",
    "52_8",
    r"\frac{\pi}{4}+k\pi",
    "p=5, q=2",
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(workers=1, deadline=60.0) as shared:
        yield shared


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(GOLDS) | latex, latex), min_size=5, max_size=10))
def test_every_input_gets_a_verdict(engine: Engine, pairs: list[tuple[str, str]]) -> None:
    verdicts = verify_batch([(gold, f"So \\boxed{{{answer}}}.") for gold, answer in pairs], engine)
    for (gold, answer), verdict in zip(pairs, verdicts, strict=True):
        assert verdict.status in ((Status.OK,) if gold in GOLDS else (Status.OK, Status.UNPARSED)), (
            gold,
            answer,
            verdict,
        )
