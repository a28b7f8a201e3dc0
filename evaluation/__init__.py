"""The evaluator: suites, generation back ends, scoring, metrics with intervals, tables and exports.

Importing this package loads neither torch nor transformers; only a back end does, when it is built.
"""

from adhere.evaluation.generation import Generation, Generator, Sampling
from adhere.evaluation.scoring import Score, ScoredRow, score_response, score_responses
from adhere.evaluation.suites import Suite

__all__ = [
    "Generation",
    "Generator",
    "Sampling",
    "Score",
    "ScoredRow",
    "Suite",
    "score_response",
    "score_responses",
]
