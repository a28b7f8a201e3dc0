"""Keywords: the 54 that MathIF asks for, which stay held out, and the pool that training draws from."""

from __future__ import annotations

_MATHIF = """
above adjacent align answer bar because between case choose condition configuration denote draw equal
equation expression find follow formula function furthermore given identical imply length maximum must
note now number point possible problem question respectively root same see side similar simply since
solution strategy than theorem therefore total valid value when where win yield
"""

MATHIF_KEYWORDS: frozenset[str] = frozenset(_MATHIF.split())
"""All keywords of the 420 MathIF prompts (arXiv 2505.14810); they enter evaluation only."""

_TRAINING = """
approach arrange basic begin bridge calm capture careful circle clarify clever combine compare complete
confirm connect context convert correct curious decide deduce define delicate depend derive detail direct
discover divide effort elegant employ ensure estimate evidence exact examine example explain explore
extra factor familiar final focus gather general gradual guide handle helpful hence idea insight inspect
involve journey justify label logic manage measure method notice observe obtain outline pattern perhaps
picture precise prepare process prove pursue quick rather reason recall reduce refine relate remain
repeat require reveal review rule sample scale select separate shape simple sketch split stable structure
suggest summary support surely target technique thorough together transform unique useful verify whole
wonder
"""

TRAINING_KEYWORDS: tuple[str, ...] = tuple(_TRAINING.split())
"""Common English words, none of which contains or is contained in a MathIF keyword."""
